"""What the exchange does wrong during a run, with a count that outlives its restarts."""

from collections import Counter
from collections.abc import Sequence

import httpx

from tests.harness.paper_control import Fault, PaperControl

WRITES = ("place", "modify", "cancel")
READS = ("books",)
REQUESTS = (*WRITES, *READS, "login")
SOCKET = ("socket",)
BROKER_TIMEOUT_PASSED_MS = 20_000
BOOK_LAG_MS = 2_500

FAULTS = (
    Fault("drop_after_accept", 0.03, ops=WRITES),
    Fault("timeout_after_accept", 0.01, ops=WRITES, delay_ms=BROKER_TIMEOUT_PASSED_MS),
    Fault("http_5xx_after_accept", 0.01, ops=WRITES),
    Fault("drop_before_accept", 0.02, ops=WRITES),
    Fault("http_5xx", 0.02, ops=REQUESTS),
    Fault("throttle_403", 0.03, ops=REQUESTS),
    Fault("token_expired", 0.004, ops=(*WRITES, *READS)),
    Fault("malformed_body", 0.02, ops=REQUESTS),
    Fault("odd_body", 0.02, ops=REQUESTS),
    Fault("lagging_book", 0.10, ops=READS, delay_ms=BOOK_LAG_MS),
    Fault("unknown_status", 0.01, ops=(*READS, *SOCKET)),
    Fault("latency", 0.05, ops=REQUESTS, delay_ms=40),
    Fault("drop_update", 0.05, ops=SOCKET),
    Fault("drop_fill_update", 0.05, ops=SOCKET),
    Fault("duplicate_update", 0.05, ops=SOCKET),
    Fault("reorder_update", 0.05, ops=SOCKET),
    Fault("delay_update", 0.05, ops=SOCKET, delay_ms=1_500),
)
STORM = (Fault("throttle_403", 1.0, ops=(*WRITES, *READS)),)


class ExchangeFaults:
    """Sets the rules, and counts what they did before they are replaced or forgotten."""

    def __init__(self, control: PaperControl, *, seed: int) -> None:
        self.fired: Counter[str] = Counter()
        self._control = control
        self._seed = seed
        self._changes = 0

    async def apply(self, rules: Sequence[Fault]) -> None:
        """Replace the rules; each time they draw from another seed."""
        await self.count()
        self._changes += 1
        await self._control.set_faults(rules, seed=self._seed * 1_000 + self._changes)

    async def count(self) -> None:
        """Add what the rules in force have done so far; they must be replaced, or end with the exchange, after this."""
        try:
            self.fired.update(await self._control.faults_fired())
        except httpx.HTTPError:
            return  # the exchange is down, and its counts with it
