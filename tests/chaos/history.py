"""What the database says of itself: every change of status has its event, and nothing is there twice."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.core.errors import IllegalTransition
from app.core.orders import OrderStatus
from app.core.transitions import NOTES, OrderEvent, next_status
from tests.harness.system import System

_EVENTS = """
SELECT e.order_id, e.event, e.status, e.at, e.actor, e.detail->>'broker_order_id' AS broker_order_id
FROM order_events e ORDER BY e.order_id, e.id
"""
_STATUSES = "SELECT id, tag, status FROM orders"
_TWICE = {
    "commands of one order on their way": """
        SELECT order_id::text FROM order_commands WHERE state = 'SUBMITTING' GROUP BY order_id HAVING count(*) > 1
    """,
    "orders with one broker order id": """
        SELECT broker_order_id FROM orders WHERE broker_order_id IS NOT NULL
        GROUP BY account_id, broker_order_id HAVING count(*) > 1
    """,
    "fills of one trade": """
        SELECT trade_id FROM fills GROUP BY account_id, broker_order_id, trade_id HAVING count(*) > 1
    """,
    "orders whose fills are not their filled quantity": """
        SELECT o.tag FROM orders o LEFT JOIN fills f ON f.order_id = o.id
        GROUP BY o.id HAVING o.filled_quantity <> coalesce(sum(f.quantity), 0)
    """,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """One event of an order, as it was recorded."""

    event: OrderEvent
    status: OrderStatus
    at: datetime
    actor: str
    broker_order_id: str | None = None

    def __str__(self) -> str:
        return f"{self.at:%H:%M:%S.%f} {self.event} -> {self.status} by {self.actor} {self.broker_order_id or ''}"


Histories = Mapping[UUID, Sequence[Happened]]


async def read_histories(system: System) -> Histories:
    """Return the events of every order, oldest first."""
    histories: dict[UUID, list[Happened]] = defaultdict(list)
    for row in await system.database.fetch(_EVENTS):
        histories[row["order_id"]].append(
            Happened(
                event=OrderEvent(row["event"]),
                status=OrderStatus(row["status"]),
                at=row["at"],
                actor=row["actor"],
                broker_order_id=row["broker_order_id"],
            )
        )
    return histories


async def inconsistencies(system: System, histories: Histories) -> list[str]:
    """Return everything in which the database contradicts itself."""
    found: list[str] = []
    for what, query in _TWICE.items():
        found += [f"history: {what}: {row[0]}" for row in await system.database.fetch(query)]
    for row in await system.database.fetch(_STATUSES):
        events = histories.get(row["id"], ())
        found += [f"history: {row['tag']}: {wrong}" for wrong in flaws(events, OrderStatus(row["status"]))]
    return found


def flaws(events: Sequence[Happened], status: OrderStatus) -> list[str]:
    """Return where a history breaks the transition table, or does not lead to the status that the order has."""
    if not events:
        return ["it has no events"]
    found: list[str] = []
    before = events[0].status
    for happened in events[1:]:
        after = before if happened.event in NOTES else _follow(before, happened.event)
        if after is not happened.status:
            found.append(f"after {before}, {happened} where the table says {after}")
        before = happened.status
    if before is not status:
        found.append(f"its last event left it {before}, and it is {status}")
    ids = {happened.broker_order_id for happened in events if happened.broker_order_id}
    if len(ids) > 1:
        found.append(f"it had several orders at the broker: {sorted(ids)}")
    return found


def _follow(status: OrderStatus, event: OrderEvent) -> OrderStatus | None:
    try:
        return next_status(status, event)
    except IllegalTransition:
        return None
