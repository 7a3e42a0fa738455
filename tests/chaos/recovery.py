"""How long commands took to be settled whose worker was killed or frozen while it held them. Pure."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from app.core.commands import CommandKind
from app.core.orders import TERMINAL_STATUSES, OrderStatus
from app.core.transitions import OrderEvent
from tests.chaos.history import Happened, Histories
from tests.harness.supervisor import Incident

_CLAIMS = {
    OrderEvent.CLAIMED: CommandKind.PLACE,
    OrderEvent.MODIFY_CLAIMED: CommandKind.MODIFY,
    OrderEvent.CANCEL_CLAIMED: CommandKind.CANCEL,
}
_OPEN = frozenset({OrderStatus.SUBMITTING, OrderStatus.UNKNOWN})
_GIVEN_UP = frozenset(
    {OrderEvent.AMBIGUOUS, OrderEvent.CLAIM_DIED, OrderEvent.MODIFY_UNKNOWN, OrderEvent.CANCEL_UNKNOWN}
)
"""With these a worker holds the command no more, though nothing is decided yet."""

_FOUND = {
    CommandKind.MODIFY: frozenset(
        {OrderEvent.MODIFIED, OrderEvent.RAISED, OrderEvent.LOWERED, OrderEvent.MODIFY_REFUSED}
    ),
    CommandKind.CANCEL: frozenset({OrderEvent.CANCEL_ACCEPTED, OrderEvent.CANCEL_REFUSED}),
}
_ABSENT = {
    CommandKind.MODIFY: frozenset({OrderEvent.MODIFY_ABSENT, OrderEvent.MODIFY_NOT_SENT, OrderEvent.MODIFY_DROPPED}),
    CommandKind.CANCEL: frozenset({OrderEvent.CANCEL_NOT_SENT, OrderEvent.CANCEL_DROPPED}),
}
PERCENTILE = 0.99


@dataclass(slots=True)
class Recoveries:
    """Seconds from the harm to the decision; `found` at the broker, or `absent` there; and what was never decided."""

    found: list[float] = field(default_factory=list)
    absent: list[float] = field(default_factory=list)
    never: int = 0
    slowest: dict[bool, tuple[float, UUID]] = field(default_factory=dict)
    """The longest time of those found (False) and absent (True), and the order whose command took it."""


def recoveries(histories: Histories, incidents: Iterable[Incident]) -> Recoveries:
    """Return the times of every command that a worker held at the moment at which it was harmed."""
    harmed: dict[int, list[datetime]] = defaultdict(list)
    for incident in incidents:
        if incident.role == "worker":
            harmed[incident.pid].append(incident.at)
    result = Recoveries()
    for order_id, events in histories.items():
        for index, happened in enumerate(events):
            if happened.event in _CLAIMS:
                _measure(result, order_id, events[index:], harmed.get(_pid(happened.actor), ()))
    return result


def p99(seconds: Sequence[float]) -> float | None:
    """Return the 99th percentile by the nearest rank; None where there is no sample."""
    if not seconds:
        return None
    return round(sorted(seconds)[math.ceil(PERCENTILE * len(seconds)) - 1], 2)


def _measure(result: Recoveries, order_id: UUID, events: Sequence[Happened], harmed_at: Sequence[datetime]) -> None:
    """Count the command that the first event claimed, if its worker was harmed while it held it."""
    claimed = events[0]
    kind = _CLAIMS[claimed.event]
    decided: tuple[Happened, bool] | None = None
    given_up: datetime | None = None
    for happened in events[1:]:
        if given_up is None and happened.event in _GIVEN_UP:
            given_up = happened.at
        if (absent := _decides(kind, happened)) is not None:
            decided = happened, absent
            break
    held_until = given_up or (decided[0].at if decided else None)
    harm = next((at for at in harmed_at if claimed.at <= at and (held_until is None or at < held_until)), None)
    if harm is None:
        return
    if decided is None:
        result.never += 1
        return
    took_s, absent = (decided[0].at - harm).total_seconds(), decided[1]
    (result.absent if absent else result.found).append(took_s)
    if took_s > result.slowest.get(absent, (0.0, order_id))[0]:
        result.slowest[absent] = took_s, order_id


def _decides(kind: CommandKind, happened: Happened) -> bool | None:
    """Return whether an event decides a command as absent; None where it does not decide it."""
    if kind is CommandKind.PLACE:
        return None if happened.status in _OPEN else happened.status is OrderStatus.PENDING
    if happened.event in _FOUND[kind]:
        return False
    if happened.event in _ABSENT[kind]:
        return True
    # The order's end is what a cancel wanted; a change that nothing was seen of is not wanted any more.
    return kind is CommandKind.MODIFY if happened.status in TERMINAL_STATUSES else None


def _pid(actor: str) -> int:
    """Return the process id in a worker's name, such as worker@host:4711:a1b2c3; 0 for other actors."""
    parts = actor.split(":")
    return int(parts[1]) if actor.startswith("worker@") and len(parts) > 1 and parts[1].isdigit() else 0
