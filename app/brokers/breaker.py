"""What a write's end says about the health of its broker, for the circuit breaker of the account.

The breaker itself lives in Redis, beside the rate budget (`governor_scripts.py`): one permit asks for both.
"""

from enum import StrEnum

from app.core.outcomes import Ambiguous, NotSent, PlaceOutcome, Throttled

SLOW_S = 2.0
"""A broker that takes longer than this for an order is in trouble, whatever it answers in the end."""

WINDOW_S = 30.0
LAST_RESULTS = 10
BAD_TO_OPEN = 5
"""So many bad ends among the last ten, within the window, open the breaker."""

OPEN_S = 5.0
OPEN_S_MAX = 60.0
"""An open breaker waits this long before it lets a probe through: doubled with each probe that fails, to the cap."""

PROBE_S = 1.0
"""How long a probe may be silent before another takes its place. It is renewed while the probe is on its way."""

PROBE_AGAIN_S = 1.0
"""Urgent writes need not wait until the breaker is half-open; but a failed probe gives the broker this much rest."""


class Health(StrEnum):
    """What one write showed."""

    GOOD = "GOOD"
    BAD = "BAD"
    NEUTRAL = "NEUTRAL"


class BreakerChange(StrEnum):
    """What a report did to the breaker."""

    OPENED = "OPENED"
    CLOSED = "CLOSED"


def health_of(outcome: PlaceOutcome, *, took_s: float) -> Health:
    """Return what a write showed.

    A broker that throttles us, or that calls the session over, is well; and what we ourselves kept back says nothing.
    """
    match outcome:
        case Ambiguous():
            return Health.BAD
        case NotSent():
            return Health.BAD if outcome.unreachable else Health.NEUTRAL
        case Throttled():
            return Health.NEUTRAL
        case _:
            return Health.BAD if took_s > SLOW_S else Health.GOOD
