"""Spreads those who must wait for something of unknown length, so that their return is never a stampede."""

from collections.abc import Callable

FIRST_S = 0.25
FIRST_S_MAX = 2.0
RETURNS_PER_SECOND = 50
"""Of one account and one process: far below what a worker can do, so that others hardly feel it."""


class Pacing:
    """Gives each that waits a time of its own to come back. The wait grows while the trouble lasts."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since: float | None = None
        self._next = 0.0

    def wait_s(self, at_least_s: float = 0.0) -> float:
        """Return how long one more must wait: the first a moment, the thousandth many seconds."""
        now = self._monotonic()
        if self._since is None:
            self._since = now
        soonest = now + max(at_least_s, min(FIRST_S_MAX, FIRST_S + (now - self._since) / 2))
        self._next = max(soonest, self._next + 1 / RETURNS_PER_SECOND)
        return self._next - now

    def over(self) -> None:
        """Begin anew: the trouble has ended."""
        self._since, self._next = None, 0.0
