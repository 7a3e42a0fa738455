"""Names of the lanes' keys in Redis, and the rank of a bell in its lane."""

from dataclasses import dataclass
from datetime import datetime

from app.core.orders import Lane, Urgency

WAKE_CHANNEL = "orders:wake"
EPOCH_KEY = "orders:epoch"
HEALTH_KEY = "orders:health-check"
OTHER_VERSIONS_KEY = "orders:other-versions"
"""How many bells were thrown away because another release had written them."""

LANES = (Lane.PRIORITY, Lane.STANDARD)
"""In the order in which free slots are filled."""

BAND_WIDTH_MS = 10**13
"""Wider than any time in milliseconds before the year 2286, so that bands never overlap."""


@dataclass(frozen=True, slots=True)
class LaneKeys:
    """The keys of one lane: ids that may run, ids put off (by due time), and the ranks of those put off."""

    ready: str
    delayed: str
    ranks: str


def lane_keys(lane: Lane) -> LaneKeys:
    """Return the keys of a lane."""
    ready = f"orders:{lane.value}"
    return LaneKeys(ready=ready, delayed=f"{ready}:delayed", ranks=f"{ready}:ranks")


def rank(urgency: Urgency, enqueued_at: datetime) -> int:
    """Return the score of a bell: the higher band first, then the older; never 0, which arq takes for absent."""
    score = epoch_ms(enqueued_at) - urgency.band * BAND_WIDTH_MS
    return score or 1


def rank_time_ms(score: int) -> int:
    """Return the enqueue time that a rank was made of, in milliseconds since 1970."""
    return score % BAND_WIDTH_MS


def epoch_ms(moment: datetime) -> int:
    """Return milliseconds since 1970."""
    return int(moment.timestamp() * 1000)
