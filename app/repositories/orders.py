"""Orders: saving them, and reading them back."""

import json
from uuid import UUID

from sqlalchemy import TextClause, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.orders import Order, OrderStatus
from app.models import OrderEventRow, OrderRow
from app.repositories.order_rows import (
    LockedOrder,
    NewOrder,
    OrderChange,
    OrderFilter,
    TimelineEvent,
    locked_order_of,
    order_of,
)

__all__ = [
    "DuplicateClientOrderId",
    "LockedOrder",
    "NewOrder",
    "OrderChange",
    "OrderFilter",
    "OrderRepository",
    "TimelineEvent",
]


class DuplicateClientOrderId(Exception):
    """The account has an order with this client order id already."""


# One statement, one round trip: the key first, and nothing else unless the key is new. `ring_after` gives the
# doorbell two seconds before the sweep rings too.
_SAVE = text("""
WITH fresh AS (
  INSERT INTO idempotency_keys (caller, key, body_hash, response)
  VALUES (:caller, :key, :body_hash, :response)
  ON CONFLICT (caller, key) DO NOTHING
  RETURNING 1
), saved AS (
  INSERT INTO orders (id, account_id, client_order_id, tag, caller, strategy_id, instrument_id, side, quantity,
    order_type, product, validity, urgency, purpose, price, trigger_price, deadline, status, filled_quantity,
    trading_day, market_time, received_at)
  SELECT CAST(:id AS uuid), CAST(:account_id AS uuid), CAST(:client_order_id AS text), CAST(:tag AS text),
    CAST(:caller AS text), CAST(:strategy_id AS uuid), CAST(:instrument_id AS uuid), CAST(:side AS text),
    CAST(:quantity AS bigint), CAST(:order_type AS text), CAST(:product AS text), CAST(:validity AS text),
    CAST(:urgency AS text), CAST(:purpose AS text), CAST(:price AS numeric), CAST(:trigger_price AS numeric),
    CAST(:deadline AS timestamptz), 'PENDING', 0, CAST(:trading_day AS date), CAST(:market_time AS timestamptz),
    CAST(:received_at AS timestamptz)
  FROM fresh
  RETURNING id
), command AS (
  INSERT INTO order_commands (id, order_id, account_id, kind, state, urgency, band, attempt, ring_after)
  SELECT CAST(:command_id AS uuid), id, CAST(:account_id AS uuid), 'PLACE', 'PENDING', CAST(:urgency AS text),
    CAST(:band AS smallint), 0, clock_timestamp() + interval '2 seconds'
  FROM saved
), event AS (
  INSERT INTO order_events (order_id, event, status, actor)
  SELECT id, 'CREATED', 'PENDING', CAST(:caller AS text) FROM saved
)
SELECT count(*) FROM saved
""")

# The inner query has no order: with one, a planner without statistics walks all orders of the account instead.
_FIND = """
SELECT id, account_id, strategy_id, instrument_id, product, side, quantity, filled_quantity, status,
  broker_order_id, tag, order_type, price, trigger_price
FROM orders WHERE id = ANY(ARRAY(SELECT o.id FROM orders o WHERE o.account_id = :account_id AND {condition}))
ORDER BY id
"""
_PEEK_BY_BROKER_ID = text(_FIND.format(condition="o.broker_order_id = ANY(CAST(:values AS text[]))"))
_PEEK_BY_TAG = text(_FIND.format(condition="o.tag = ANY(CAST(:values AS text[]))"))
_LOCK_BY_ID = text(_FIND.format(condition="o.id = ANY(CAST(:values AS uuid[]))") + " FOR UPDATE")
_LOCK_BY_BROKER_ID = text(f"{_PEEK_BY_BROKER_ID.text} FOR UPDATE")
_LOCK_BY_TAG = text(f"{_PEEK_BY_TAG.text} FOR UPDATE")

# Once a raw text, because books repeat it with every read.
_NOTE_STATUS = text("""
INSERT INTO order_events (order_id, event, status, actor, detail)
SELECT o.id, 'STATUS_UNRECOGNISED', o.status, 'keeper', jsonb_build_object('raw', CAST(:raw AS text))
FROM orders o WHERE o.id = :order_id AND NOT EXISTS (
  SELECT 1 FROM order_events e WHERE e.order_id = o.id AND e.event = 'STATUS_UNRECOGNISED'
    AND e.detail ->> 'raw' = CAST(:raw AS text))
""")

# The orders are locked by this transaction. What was UNKNOWN is settled by the evidence that the row is, and what
# waits to be sent again must not be: the broker has it.
_APPLY = text("""
WITH o AS (
  UPDATE orders SET status = :status, status_reason = CAST(:reason AS text),
    broker_order_id = coalesce(broker_order_id, CAST(:broker_order_id AS text)),
    broker_unique_id = coalesce(broker_unique_id, CAST(:broker_unique_id AS text)),
    acknowledged_at = coalesce(acknowledged_at, clock_timestamp()),
    done_at = CASE WHEN :done THEN coalesce(done_at, clock_timestamp()) ELSE done_at END
  WHERE id = :order_id RETURNING id
), c AS (
  UPDATE order_commands SET state = 'DONE' FROM o
  WHERE order_id = o.id AND kind = 'PLACE' AND state IN ('UNKNOWN', 'PENDING', 'PARKED')
)
INSERT INTO order_events (order_id, event, status, actor, detail)
SELECT id, :event, :event_status, 'keeper', CAST(:detail AS jsonb) FROM o
""")


class OrderRepository:
    """SQL of the orders and order_events tables; `CommandRepository` moves orders on."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def save(self, new: NewOrder) -> bool:
        """Save order, command, event and answer at once; false where the idempotency key was used before.

        Raises `DuplicateClientOrderId` where the account has this client order id under another key.
        """
        intent = new.intent
        params = {
            "caller": new.answer.caller,
            "key": new.answer.key,
            "body_hash": new.answer.body_hash,
            "response": new.answer.response,
            "id": new.id,
            "command_id": new.command_id,
            "account_id": intent.account_id,
            "client_order_id": intent.client_order_id,
            "tag": new.tag,
            "strategy_id": intent.strategy_id,
            "instrument_id": intent.instrument_id,
            "side": intent.side.value,
            "quantity": intent.quantity,
            "order_type": intent.order_type.value,
            "product": intent.product.value,
            "validity": intent.validity.value,
            "urgency": intent.urgency.value,
            "band": intent.urgency.band,
            "purpose": intent.purpose.value,
            "price": intent.price,
            "trigger_price": intent.trigger_price,
            "deadline": intent.deadline,
            "trading_day": new.trading_day,
            "market_time": new.market_time,
            "received_at": new.received_at,
        }
        try:
            return int((await self._connection.execute(_SAVE, params)).scalar_one()) == 1
        except IntegrityError as error:
            if "uq_orders_account_id_client_order_id" in str(error.orig) or "uq_orders_account_id_tag" in str(
                error.orig
            ):
                raise DuplicateClientOrderId(intent.client_order_id) from error
            raise

    async def apply(self, changes: list[OrderChange]) -> None:
        """Move locked orders on by what the broker's rows say, one event each."""
        await self._connection.execute(
            _APPLY,
            [
                {
                    "order_id": change.order_id,
                    "event": change.event.value,
                    "status": change.status.value,
                    "event_status": change.status.value,
                    "reason": change.reason,
                    "broker_order_id": change.broker_order_id,
                    "broker_unique_id": change.broker_unique_id,
                    "done": change.done,
                    "detail": json.dumps({"broker_order_id": change.broker_order_id}),
                }
                for change in changes
            ],
        )

    async def note_unrecognised(self, order_id: UUID, raw_status: str) -> bool:
        """Note a status text that nobody knows; false where the order has that note already."""
        params = {"order_id": order_id, "raw": raw_status}
        return (await self._connection.execute(_NOTE_STATUS, params)).rowcount == 1

    async def get(self, order_id: UUID) -> Order | None:
        """Return one order."""
        query = select(OrderRow.__table__).where(OrderRow.id == order_id)
        row = (await self._connection.execute(query)).mappings().first()
        return order_of(row) if row else None

    async def page(self, wanted: OrderFilter, *, limit: int) -> list[Order]:
        """Return orders, newest first."""
        query = select(OrderRow.__table__).order_by(OrderRow.id.desc()).limit(limit)
        for column, value in (
            (OrderRow.account_id, wanted.account_id),
            (OrderRow.status, wanted.status),
            (OrderRow.instrument_id, wanted.instrument_id),
            (OrderRow.strategy_id, wanted.strategy_id),
            (OrderRow.side, wanted.side),
            (OrderRow.trading_day, wanted.trading_day),
        ):
            if value is not None:
                query = query.where(column == value)
        if wanted.before is not None:
            query = query.where(OrderRow.id < wanted.before)
        return [order_of(row) for row in (await self._connection.execute(query)).mappings()]

    async def timeline(self, order_id: UUID) -> list[TimelineEvent]:
        """Return what happened to an order, oldest first."""
        query = (
            select(
                OrderEventRow.at, OrderEventRow.event, OrderEventRow.status, OrderEventRow.actor, OrderEventRow.detail
            )
            .where(OrderEventRow.order_id == order_id)
            .order_by(OrderEventRow.id)
        )
        rows = await self._connection.execute(query)
        return [TimelineEvent(r.at, r.event, OrderStatus(r.status), r.actor, r.detail) for r in rows]

    async def lock_by_id(self, account_id: UUID, order_ids: list[UUID]) -> list[LockedOrder]:
        """Lock and return these orders of the account."""
        rows = await self._connection.execute(_LOCK_BY_ID, {"account_id": account_id, "values": order_ids})
        return [locked_order_of(row) for row in rows.mappings()]

    async def lock_by_broker_id(self, account_id: UUID, broker_order_ids: list[str]) -> list[LockedOrder]:
        """Lock and return the account's orders with these broker order ids."""
        return await self._find(_LOCK_BY_BROKER_ID, account_id, broker_order_ids)

    async def lock_by_tag(self, account_id: UUID, tags: list[str]) -> list[LockedOrder]:
        """Lock and return the account's orders with these tags."""
        return await self._find(_LOCK_BY_TAG, account_id, tags)

    async def peek_by_broker_id(self, account_id: UUID, broker_order_ids: list[str]) -> list[LockedOrder]:
        """Return the account's orders with these broker order ids as they stand: good for deciding whether to lock."""
        return await self._find(_PEEK_BY_BROKER_ID, account_id, broker_order_ids)

    async def peek_by_tag(self, account_id: UUID, tags: list[str]) -> list[LockedOrder]:
        """Return the account's orders with these tags as they stand: good for deciding whether to lock."""
        return await self._find(_PEEK_BY_TAG, account_id, tags)

    async def _find(self, query: TextClause, account_id: UUID, values: list[str]) -> list[LockedOrder]:
        rows = await self._connection.execute(query, {"account_id": account_id, "values": values})
        return [locked_order_of(row) for row in rows.mappings()]
