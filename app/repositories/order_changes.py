"""Storing wishes to change or cancel orders. All of it happens while the caller's transaction holds the order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.commands import CommandKind, CommandState, OrderTerms
from app.core.orders import Order, Purpose, Side, Urgency
from app.core.transitions import OrderEvent
from app.models import OrderCommandRow, OrderRow
from app.repositories.order_rows import order_of
from app.repositories.transition_sql import case_by_status

CANCEL_ATTEMPTS = 20
"""A cancel that stayed ambiguous so often is a person's to look at."""
MODIFY_ATTEMPTS = 50
"""As many as a placement has: only what was provably not sent is tried again."""


class LockedChanges(NamedTuple):
    """An order that this transaction has locked, with its modify and cancel that are not DONE."""

    order: Order
    changes: dict[CommandKind, CommandState]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewChange:
    """A modify (with its terms) or a cancel (without) to be stored as a command in `state`."""

    command_id: UUID
    order: Order
    urgency: Urgency
    actor: str
    state: CommandState = CommandState.PENDING
    terms: OrderTerms | None = None


class CancelFilter(NamedTuple):
    """Which orders of an account to cancel; None means any."""

    account_id: UUID
    instrument_id: UUID | None = None
    strategy_id: UUID | None = None
    side: Side | None = None
    purpose: Purpose | None = None


class Cancellable(NamedTuple):
    """An order that a bulk cancel is to end."""

    order_id: UUID
    instrument_id: UUID


_LIVE = ("PENDING", "SUBMITTING", "PLACED", "PARTIALLY_FILLED", "UNKNOWN")

_END_UNSENT = text(f"""
WITH o AS (
  UPDATE orders o
  SET status = {case_by_status(OrderEvent.CANCELLED_UNSENT)}, status_reason = 'cancelled before it was sent',
    done_at = clock_timestamp()
  WHERE o.id = :order_id AND o.status = 'PENDING'
  RETURNING o.id, o.status
), c AS (
  UPDATE order_commands c SET state = 'DONE' FROM o WHERE c.order_id = o.id AND c.state <> 'DONE'
)
INSERT INTO order_events (order_id, event, status, actor) SELECT id, 'CANCELLED_UNSENT', status, :actor FROM o
""")

_CHANGE_UNSENT = text(f"""
WITH o AS (
  UPDATE orders o
  SET status = {case_by_status(OrderEvent.MODIFIED)}, quantity = :quantity, order_type = :order_type,
    price = CAST(:price AS numeric), trigger_price = CAST(:trigger_price AS numeric)
  WHERE o.id = :order_id
  RETURNING o.*
)
INSERT INTO order_events (order_id, event, status, actor, detail)
SELECT id, 'MODIFIED', status, :actor, jsonb_strip_nulls(jsonb_build_object('quantity', CAST(quantity AS text),
  'order_type', order_type, 'price', CAST(price AS text), 'trigger_price', CAST(trigger_price AS text))) FROM o
""")

# What a new cancel replaces: a modify that was not sent yet, and a cancel that was given up.
_DROP_REPLACED = text("""
WITH c AS (
  UPDATE order_commands SET state = 'DONE', reason = 'a cancel took its place'
  WHERE order_id = :order_id
    AND ((kind = 'MODIFY' AND state IN ('PENDING', 'PARKED')) OR (kind = 'CANCEL' AND state = 'PARKED'))
  RETURNING order_id, kind
)
INSERT INTO order_events (order_id, event, status, actor)
SELECT o.id, c.kind || '_DROPPED', o.status, :actor FROM c JOIN orders o ON o.id = c.order_id
""")

_STORE = text("""
WITH command AS (
  INSERT INTO order_commands (id, order_id, account_id, kind, state, urgency, band, attempt, attempt_limit, ring_after,
    caller, quantity, order_type, price, trigger_price)
  SELECT :command_id, o.id, o.account_id, CAST(:kind AS text), CAST(:state AS text), CAST(:urgency AS text),
    CAST(:band AS smallint), 0, CAST(:attempt_limit AS integer), clock_timestamp() + interval '2 seconds',
    CAST(:actor AS text), CAST(:quantity AS bigint), CAST(:order_type AS text), CAST(:price AS numeric),
    CAST(:trigger_price AS numeric)
  FROM orders o WHERE o.id = :order_id
), held AS (
  UPDATE orders SET cancel_wanted_at = clock_timestamp() WHERE id = :order_id AND CAST(:state AS text) = 'HELD'
)
INSERT INTO order_events (order_id, event, status, actor, detail)
SELECT o.id, CAST(:kind AS text) || '_REQUESTED', o.status, CAST(:actor AS text), jsonb_strip_nulls(jsonb_build_object(
  'quantity', CAST(CAST(:quantity AS bigint) AS text), 'order_type', CAST(:order_type AS text),
  'price', CAST(CAST(:price AS numeric) AS text),
  'trigger_price', CAST(CAST(:trigger_price AS numeric) AS text),
  'held', CASE WHEN CAST(:state AS text) = 'HELD' THEN 'true' END))
FROM orders o WHERE o.id = :order_id
""")


class OrderChangeRepository:
    """SQL of what people and strategies want changed. The outcomes are `CommandRepository`'s."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def lock(self, order_ids: Sequence[UUID]) -> list[LockedChanges]:
        """Lock orders, by id in one order everywhere, and return them with their open changes."""
        orders = select(OrderRow.__table__).where(OrderRow.id.in_(order_ids)).order_by(OrderRow.id).with_for_update()
        locked = {
            row["id"]: LockedChanges(order_of(row), {}) for row in (await self._connection.execute(orders)).mappings()
        }
        # A statement of its own, so that it sees what was committed while the lock was waited for.
        commands = select(OrderCommandRow.order_id, OrderCommandRow.kind, OrderCommandRow.state).where(
            OrderCommandRow.order_id.in_(list(locked)),
            OrderCommandRow.kind != CommandKind.PLACE.value,
            OrderCommandRow.state != CommandState.DONE.value,
        )
        for row in await self._connection.execute(commands):
            locked[row.order_id].changes[CommandKind(row.kind)] = CommandState(row.state)
        return list(locked.values())

    async def cancellable(self, wanted: CancelFilter, *, limit: int) -> list[Cancellable]:
        """Return orders that are not over and of which no cancel is under way, oldest first."""
        under_way = (
            select(OrderCommandRow.id)
            .where(
                OrderCommandRow.order_id == OrderRow.id,
                OrderCommandRow.kind == CommandKind.CANCEL.value,
                OrderCommandRow.state.not_in((CommandState.DONE.value, CommandState.PARKED.value)),
            )
            .exists()
        )
        query = select(OrderRow.id, OrderRow.instrument_id).where(
            OrderRow.account_id == wanted.account_id, OrderRow.status.in_(_LIVE), ~under_way
        )
        for column, value in (
            (OrderRow.instrument_id, wanted.instrument_id),
            (OrderRow.strategy_id, wanted.strategy_id),
            (OrderRow.side, wanted.side),
            (OrderRow.purpose, wanted.purpose),
        ):
            if value is not None:
                query = query.where(column == value)
        rows = await self._connection.execute(query.order_by(OrderRow.id).limit(limit))
        return [Cancellable(*row) for row in rows]

    async def end_unsent(self, order_id: UUID, *, actor: str) -> None:
        """Cancel a locked PENDING order: none of its commands ever reaches the broker."""
        await self._connection.execute(_END_UNSENT, {"order_id": order_id, "actor": actor})

    async def change_unsent(self, order_id: UUID, terms: OrderTerms, *, actor: str) -> None:
        """Give a locked PENDING order new terms: it is placed with them."""
        params = {"order_id": order_id, "actor": actor, **_terms(terms)}
        await self._connection.execute(_CHANGE_UNSENT, params)

    async def store(self, change: NewChange) -> None:
        """Store a modify or cancel of a locked order; a cancel takes the place of what has not been sent."""
        kind = CommandKind.CANCEL if change.terms is None else CommandKind.MODIFY
        if kind is CommandKind.CANCEL:
            await self._connection.execute(_DROP_REPLACED, {"order_id": change.order.id, "actor": change.actor})
        params = {
            "command_id": change.command_id,
            "order_id": change.order.id,
            "kind": kind.value,
            "state": change.state.value,
            "urgency": change.urgency.value,
            "band": change.urgency.band,
            "attempt_limit": CANCEL_ATTEMPTS if kind is CommandKind.CANCEL else MODIFY_ATTEMPTS,
            "actor": change.actor,
            **_terms(change.terms),
        }
        await self._connection.execute(_STORE, params)


def _terms(terms: OrderTerms | None) -> dict[str, object]:
    if terms is None:
        return {"quantity": None, "order_type": None, "price": None, "trigger_price": None}
    return {
        "quantity": terms.quantity,
        "order_type": terms.order_type.value,
        "price": terms.price,
        "trigger_price": terms.trigger_price,
    }
