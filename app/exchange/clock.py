"""The exchange's own wall clock, which can be set off the machine's: no broker's clock is exactly ours."""

from collections.abc import Callable
from datetime import datetime, timedelta


class ExchangeClock:
    """Tells the machine's time plus an offset. Every time that the exchange writes down comes from here."""

    def __init__(self, machine: Callable[[], datetime], *, offset_ms: int = 0) -> None:
        self.machine = machine
        self.offset_ms = offset_ms

    def now(self) -> datetime:
        """Return the exchange's time in UTC."""
        return self.machine() + timedelta(milliseconds=self.offset_ms)
