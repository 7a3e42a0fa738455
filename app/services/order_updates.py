"""What the broker's order stream and order book say about our orders. They never make a fill."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from app.core.alerts import AlertKind, Severity
from app.core.errors import IllegalTransition
from app.core.orders import TERMINAL_STATUSES, OrderStatus
from app.core.ports import BrokerOrder, BrokerOrderState
from app.core.tags import is_our_tag
from app.core.transitions import OrderEvent, next_status
from app.infra.failpoints import Point, reach
from app.infra.logging import get_logger
from app.infra.metrics import ORDERS_ENDED, UNKNOWN_SETTLED
from app.repositories.leases import Lease
from app.repositories.orders import LockedOrder, OrderChange
from app.repositories.unit_of_work import Transaction, UnitOfWork

ODD_MAX = 10_000
"""Orders with an unknown status text that are remembered; beyond, each is told of once more."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What a batch of broker rows told: how many orders changed, and whether the trade book must be read.

    `matched` are our orders as they stood before, with their rows; `unmatched` the rows of none of ours.
    """

    changed: int
    trades_missing: bool
    matched: tuple[tuple[LockedOrder, BrokerOrder], ...] = field(default=(), compare=False)
    unmatched: tuple[BrokerOrder, ...] = field(default=(), compare=False)


class OrderUpdates:
    """Applies broker rows: binds orders to their broker ids by tag, and ends those that the broker ended."""

    def __init__(self, *, uow: UnitOfWork) -> None:
        self._uow = uow
        self._odd: dict[UUID, str] = {}

    async def apply(self, account_id: UUID, rows: Sequence[BrokerOrder], lease: Lease) -> Applied:
        """Apply rows, oldest first. Raises `LeaseLost` where there is something to write and another keeper leads."""
        latest = _latest(rows)
        # Most rows say what is known already. Locking for them would put a flush of the log between orders' own.
        async with self._uow.statement() as tx:
            orders = await self._match(tx, account_id, latest, lock=False)
        changes = _all_changes(orders, latest)
        odd, sane = self._status_words(orders, latest)
        if changes or odd or sane:
            async with self._uow.fenced(lease) as tx:
                if changes:
                    orders = await self._match(tx, account_id, latest, lock=True)
                    changes = _all_changes(orders, latest)
                if changes:
                    reach(Point.KEEPER_BEFORE_APPLY)
                    await tx.orders.apply(changes)
                await _tell_status_words(tx, odd, sane)
            self._remember(odd, sane)
            _count(orders, changes)
        missing = any(row.filled_quantity > orders[b].filled_quantity for b, row in latest.items() if b in orders)
        return Applied(
            changed=len(changes),
            trades_missing=missing,
            matched=tuple((order, latest[broker_id]) for broker_id, order in orders.items()),
            unmatched=tuple(row for broker_id, row in latest.items() if broker_id not in orders),
        )

    def _status_words(
        self, orders: dict[str, LockedOrder], rows: dict[str, BrokerOrder]
    ) -> tuple[list[tuple[LockedOrder, BrokerOrder]], list[UUID]]:
        """Return orders with a status text that nobody knows and was not told of, and those that have left such."""
        odd: list[tuple[LockedOrder, BrokerOrder]] = []
        sane: list[UUID] = []
        for broker_id, order in orders.items():
            row = rows[broker_id]
            if row.state is not BrokerOrderState.UNRECOGNISED:
                if order.id in self._odd:
                    sane.append(order.id)
            elif self._odd.get(order.id) != row.raw_status:
                odd.append((order, row))
        return odd, sane

    def _remember(self, odd: list[tuple[LockedOrder, BrokerOrder]], sane: list[UUID]) -> None:
        for order_id in sane:
            del self._odd[order_id]
        if len(self._odd) > ODD_MAX:
            self._odd.clear()
        self._odd |= {order.id: row.raw_status for order, row in odd}

    async def _match(
        self, tx: Transaction, account_id: UUID, rows: dict[str, BrokerOrder], *, lock: bool
    ) -> dict[str, LockedOrder]:
        """Return our orders by broker order id: those bound already, and those whose unique tag the row carries."""
        by_broker_id = tx.orders.lock_by_broker_id if lock else tx.orders.peek_by_broker_id
        bound = await by_broker_id(account_id, list(rows))
        matched = {order.broker_order_id: order for order in bound if order.broker_order_id is not None}
        by_tag = {
            row.tag: broker_id
            for broker_id, row in rows.items()
            if broker_id not in matched and row.tag is not None and is_our_tag(row.tag)
        }
        if not by_tag:
            return matched
        of_tags = tx.orders.lock_by_tag if lock else tx.orders.peek_by_tag
        for order in await of_tags(account_id, list(by_tag)):
            broker_id = by_tag[order.tag]
            # The worker may have bound it since the look by broker id.
            if order.broker_order_id in (None, broker_id):
                matched[broker_id] = order
            else:
                log.error("order.tag.twice", order_id=str(order.id), bound=order.broker_order_id, also=broker_id)
        return matched


def _count(orders: dict[str, LockedOrder], changes: Sequence[OrderChange]) -> None:
    before = {order.id: order.status for order in orders.values()}
    changed = {change.order_id for change in changes}
    UNKNOWN_SETTLED.labels("row").inc(sum(1 for one in changed if before[one] is OrderStatus.UNKNOWN))
    for change in changes:
        if change.done and before[change.order_id] not in TERMINAL_STATUSES:
            ORDERS_ENDED.labels(change.status.value).inc()


async def _tell_status_words(tx: Transaction, odd: list[tuple[LockedOrder, BrokerOrder]], sane: list[UUID]) -> None:
    """Write down status texts that nobody knows: the order stays as it is, and a person should look."""
    for order, row in odd:
        await tx.orders.note_unrecognised(order.id, row.raw_status)
        await tx.alerts.open(
            AlertKind.STATUS_UNRECOGNISED,
            str(order.id),
            severity=Severity.WARNING,
            message=f"the broker says {row.raw_status!r} of an order, which nobody here understands",
            account_id=order.account_id,
            order_id=order.id,
            detail={"raw": row.raw_status, "broker_order_id": row.broker_order_id},
        )
        log.error("order.status.unrecognised", order_id=str(order.id), raw=row.raw_status)
    for order_id in sane:
        await tx.alerts.close(AlertKind.STATUS_UNRECOGNISED, str(order_id))


def _latest(rows: Sequence[BrokerOrder]) -> dict[str, BrokerOrder]:
    """Return the last row of each broker order, with the tag that any of its rows carries: not all books echo it."""
    latest: dict[str, BrokerOrder] = {}
    for row in rows:
        before = latest.get(row.broker_order_id)
        known_tag = before.tag if before else None
        latest[row.broker_order_id] = replace(row, tag=known_tag) if known_tag and not row.tag else row
    return latest


def _all_changes(orders: dict[str, LockedOrder], rows: dict[str, BrokerOrder]) -> list[OrderChange]:
    return [
        change
        for broker_id, order in orders.items()
        for change in changes_by(rows[broker_id], order, found="its tag was seen at the broker")
    ]


def changes_by(row: BrokerOrder, order: LockedOrder, *, found: str) -> list[OrderChange]:
    """Return the steps that a row of the broker makes its order take; `found` says how it is known to be its row."""
    changes: list[OrderChange] = []
    status = order.status
    if order.broker_order_id is None:
        status = _after(order, status, OrderEvent.ACCEPTED)
        changes.append(_change(order, row, OrderEvent.ACCEPTED, status, found))
    event = _END_EVENTS.get(row.state)
    if event is None:
        if row.state is BrokerOrderState.WORKING and status is OrderStatus.REJECTED:
            log.error("order.rejected_yet_working", order_id=str(order.id), broker_order_id=row.broker_order_id)
        return changes
    try:
        ended = next_status(status, event)
    except IllegalTransition:
        return changes  # known to be over already: books and streams repeat themselves
    if ended is not status or status not in TERMINAL_STATUSES:
        changes.append(_change(order, row, event, ended, row.text or None))
    return changes


_END_EVENTS = {
    BrokerOrderState.REJECTED: OrderEvent.BROKER_REJECTED,
    BrokerOrderState.CANCELLED: OrderEvent.BROKER_CANCELLED,
}


def _after(order: LockedOrder, status: OrderStatus, event: OrderEvent) -> OrderStatus:
    try:
        return next_status(status, event)
    except IllegalTransition:
        log.exception("order.update.unexpected", order_id=str(order.id), status=status, order_event=event)
        return status


def _change(
    order: LockedOrder, row: BrokerOrder, event: OrderEvent, status: OrderStatus, reason: str | None
) -> OrderChange:
    return OrderChange(
        order_id=order.id,
        event=event,
        status=status,
        reason=reason,
        broker_order_id=row.broker_order_id,
        broker_unique_id=row.broker_unique_id,
        done=status in TERMINAL_STATUSES,
    )
