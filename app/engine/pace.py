"""How fast a replay goes: as fast as everything is recorded, or a multiple of market speed."""

import asyncio
from decimal import Decimal

from app.core.ports import Clock
from app.infra.lifecycle import sleep_or_stop

STEPS_PER_MINUTE = 4


class Pace:
    """Spreads steps evenly over time; speed 0 waits for nothing."""

    def __init__(self, speed: Decimal, *, clock: Clock) -> None:
        self._interval_s = 0.0 if speed == 0 else 60.0 / STEPS_PER_MINUTE / float(speed)
        self._clock = clock
        self._next_at: float | None = None

    async def wait(self, over: asyncio.Event) -> bool:
        """Wait for the time of the next step; false where `over` came first."""
        now = self._clock.monotonic()
        if self._next_at is not None and self._next_at > now:
            await sleep_or_stop(over, self._next_at - now)
        self._next_at = max(now, self._next_at or now) + self._interval_s
        return not over.is_set()
