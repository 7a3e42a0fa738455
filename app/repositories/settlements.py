"""Settling against the broker's books: what is unsettled, proof of absence, orders found there, changed terms."""

import json
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.commands import OrderTerms
from app.core.instruments import Exchange
from app.core.ports import Ring
from app.core.transitions import OrderEvent
from app.repositories.command_rows import ring_of
from app.repositories.settlement_rows import (
    Discovery,
    Placement,
    UnknownModify,
    UnknownOrder,
    Unsettled,
    modify_of,
    placement_of,
)
from app.repositories.transition_sql import case_by_status, is_legal

__all__ = ["Discovery", "Placement", "SettlementRepository", "UnknownModify", "UnknownOrder", "Unsettled"]

# For a second a claim is nothing to worry about: brokers answer in less.
_UNSETTLED = text("""
SELECT clock_timestamp() AS now,
  EXISTS (SELECT 1 FROM orders WHERE account_id = :account_id AND status = 'UNKNOWN') AS placements,
  EXISTS (SELECT 1 FROM order_commands
    WHERE account_id = :account_id AND state = 'UNKNOWN' AND kind = 'MODIFY') AS modifies,
  EXISTS (SELECT 1 FROM orders
    WHERE account_id = :account_id AND status = 'SUBMITTING'
      AND claimed_at < clock_timestamp() - interval '1 second') AS claims
""")

# Not FOR UPDATE: that would keep new orders from referring to their account.
_LOCK_ACCOUNT = text("SELECT 1 FROM broker_accounts WHERE id = :account_id FOR NO KEY UPDATE")

_INDIAN_DAY = "AT TIME ZONE 'Asia/Kolkata')::date"

# The broker's day is both India's and the market's, which in a replay is another one.
_PLACEMENTS = text(f"""
SELECT o.id AS order_id, o.status, o.instrument_id, i.exchange, s.trading_symbol, s.token, o.side, o.quantity,
  o.order_type, o.product, o.price, o.trigger_price, o.claimed_at, o.market_time, c.attempt, c.send_by,
  o.cancel_wanted_at IS NOT NULL AS cancel_wanted,
  coalesce((o.claimed_at {_INDIAN_DAY} = (clock_timestamp() {_INDIAN_DAY} AND m.trading_day = o.trading_day, false)
    AS same_day
FROM orders o JOIN order_commands c ON c.order_id = o.id AND c.kind = 'PLACE'
JOIN broker_accounts a ON a.id = o.account_id JOIN instruments i ON i.id = o.instrument_id
LEFT JOIN broker_symbols s ON s.broker = a.broker AND s.instrument_id = o.instrument_id
LEFT JOIN market_clock m ON m.source = a.market_source
WHERE o.account_id = :account_id AND o.status IN ('SUBMITTING', 'UNKNOWN') AND o.broker_order_id IS NULL
ORDER BY o.id
""")

_BOUND = text("""
SELECT broker_order_id FROM orders
WHERE account_id = :account_id AND broker_order_id = ANY(CAST(:broker_order_ids AS text[]))
""")

_PROVE_ABSENT = text(f"""
WITH held AS (
  SELECT o.id AS order_id, c.id AS command_id
  FROM orders o JOIN order_commands c ON c.order_id = o.id
  WHERE o.id = :order_id AND o.broker_order_id IS NULL AND {is_legal(OrderEvent.PROVEN_ABSENT)}
    AND c.kind = 'PLACE' AND c.state = 'UNKNOWN' AND c.attempt = :attempt
  FOR UPDATE OF o, c
), o AS (
  UPDATE orders o SET status = {case_by_status(OrderEvent.PROVEN_ABSENT)}, status_reason = CAST(:reason AS text)
  FROM held WHERE o.id = held.order_id
  RETURNING o.id, o.status, o.instrument_id
), c AS (
  UPDATE order_commands c SET state = 'PENDING', ring_after = clock_timestamp() + interval '2 seconds'
  FROM held JOIN o ON o.id = held.order_id WHERE c.id = held.command_id
  RETURNING c.*
), e AS (
  INSERT INTO order_events (order_id, event, status, actor, detail)
  SELECT o.id, 'PROVEN_ABSENT', o.status, 'keeper', jsonb_build_object('reason', CAST(:reason AS text)) FROM o
)
SELECT c.id, c.account_id, c.urgency, c.created_at, i.exchange
FROM c JOIN o ON o.id = c.order_id JOIN instruments i ON i.id = o.instrument_id
""")

# Somebody else's tag may be on many orders, and in our table tags are unique. No caller's own id has a slash in it.
_DISCOVER = text(f"""
WITH o AS (
  INSERT INTO orders (id, account_id, client_order_id, tag, caller, instrument_id, side, quantity, order_type, product,
    validity, urgency, purpose, origin, price, trigger_price, status, status_reason, broker_order_id, broker_unique_id,
    filled_quantity, trading_day, market_time, received_at, acknowledged_at, done_at)
  SELECT CAST(:id AS uuid), a.id, 'external/' || CAST(:broker_order_id AS text),
    CASE WHEN CAST(:tag AS text) IS NULL
        OR EXISTS (SELECT 1 FROM orders t WHERE t.account_id = a.id AND t.tag = CAST(:tag AS text))
      THEN 'X:' || CAST(:broker_order_id AS text) ELSE CAST(:tag AS text) END,
    'broker', CAST(:instrument_id AS uuid), CAST(:side AS text), CAST(:quantity AS bigint),
    CAST(:order_type AS text), CAST(:product AS text), CAST(:validity AS text), 'NORMAL', 'ENTRY',
    CAST(:origin AS text), CAST(:price AS numeric), CAST(:trigger_price AS numeric), CAST(:status AS text),
    CAST(:reason AS text), CAST(:broker_order_id AS text), CAST(:broker_unique_id AS text), 0,
    coalesce(m.trading_day, (clock_timestamp() {_INDIAN_DAY}), coalesce(m.market_time, clock_timestamp()),
    clock_timestamp(), clock_timestamp(), CASE WHEN CAST(:done AS boolean) THEN clock_timestamp() END
  FROM broker_accounts a LEFT JOIN market_clock m ON m.source = a.market_source WHERE a.id = :account_id
  ON CONFLICT DO NOTHING
  RETURNING id, status
), e AS (
  INSERT INTO order_events (order_id, event, status, actor, detail)
  SELECT id, 'DISCOVERED', status, 'keeper', CAST(:detail AS jsonb) FROM o
)
SELECT count(*) FROM o
""")

_INSTRUMENTS = text("""
SELECT i.id, i.exchange, s.token, s.trading_symbol
FROM broker_symbols s JOIN instruments i ON i.id = s.instrument_id JOIN broker_accounts a ON a.broker = s.broker
WHERE a.id = :account_id
  AND (s.token = ANY(CAST(:tokens AS text[])) OR s.trading_symbol = ANY(CAST(:symbols AS text[])))
""")

_UNKNOWN_MODIFIES = text("""
SELECT c.id, o.broker_order_id, c.quantity, c.order_type, c.price, c.trigger_price, c.send_by,
  o.quantity AS present_quantity, o.order_type AS present_type, o.price AS present_price,
  o.trigger_price AS present_trigger
FROM order_commands c JOIN orders o ON o.id = c.order_id
WHERE c.account_id = :account_id AND c.state = 'UNKNOWN' AND c.kind = 'MODIFY' AND o.broker_order_id IS NOT NULL
ORDER BY c.id
""")

_ADOPT_TERMS = text(f"""
WITH held AS (
  SELECT o.id FROM orders o WHERE o.id = :order_id AND o.status IN ('PLACED', 'PARTIALLY_FILLED') FOR UPDATE
), o AS (
  UPDATE orders o SET status = {case_by_status(OrderEvent.MODIFIED)}, status_reason = 'changed at the broker',
    quantity = :quantity, price = CAST(:price AS numeric), trigger_price = CAST(:trigger_price AS numeric)
  FROM held WHERE o.id = held.id AND :quantity > o.filled_quantity
    AND NOT EXISTS (
      SELECT 1 FROM order_commands c WHERE c.order_id = o.id AND c.kind = 'MODIFY' AND c.state <> 'DONE')
    AND NOT EXISTS (
      SELECT 1 FROM order_events e WHERE e.order_id = o.id AND e.event IN ('MODIFIED', 'RAISED', 'LOWERED')
        AND e.at > CAST(:unchanged_since AS timestamptz))
  RETURNING o.id, o.status
), e AS (
  INSERT INTO order_events (order_id, event, status, actor, detail)
  SELECT o.id, 'MODIFIED', o.status, 'keeper', CAST(:detail AS jsonb) FROM o
)
SELECT count(*) FROM o
""")

# Those without an alert, and those whose alert does not say yet that it takes too long.
_UNTOLD_UNKNOWN = text("""
SELECT o.id AS order_id, o.account_id, late.overdue
FROM orders o LEFT JOIN order_commands c ON c.order_id = o.id AND c.kind = 'PLACE'
CROSS JOIN LATERAL (
  SELECT coalesce(c.send_by, o.claimed_at, o.saved_at)
    < clock_timestamp() - make_interval(secs => CAST(:overdue_s AS double precision)) AS overdue
) late
LEFT JOIN alerts a ON a.kind = 'ORDER_UNKNOWN' AND a.subject = CAST(o.id AS text) AND a.closed_at IS NULL
WHERE o.status = 'UNKNOWN' AND (a.id IS NULL OR (late.overdue AND a.severity <> 'CRITICAL'))
ORDER BY o.id LIMIT :batch
""")

_SETTLED_ALERTS = """a.closed_at IS NULL AND EXISTS (
    SELECT 1 FROM orders o WHERE o.id = a.order_id
      AND (a.kind = 'ORDER_UNKNOWN' AND o.status <> 'UNKNOWN'
        OR a.kind = 'STATUS_UNRECOGNISED' AND o.done_at IS NOT NULL))
"""
_HAS_SETTLED_ALERTS = text(f"SELECT EXISTS (SELECT 1 FROM alerts a WHERE {_SETTLED_ALERTS})")
_CLOSE_SETTLED_ALERTS = text(f"UPDATE alerts a SET closed_at = clock_timestamp() WHERE {_SETTLED_ALERTS}")


class SettlementRepository:
    """SQL that settles one account's orders against its broker's books."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def unsettled(self, account_id: UUID) -> Unsettled:
        """Return what waits for the books, and the time."""
        return Unsettled(*(await self._connection.execute(_UNSETTLED, {"account_id": account_id})).one())

    async def lock_account(self, account_id: UUID) -> None:
        """Keep all other settlements of the account out until the transaction ends."""
        await self._connection.execute(_LOCK_ACCOUNT, {"account_id": account_id})

    async def placements(self, account_id: UUID) -> list[Placement]:
        """Return the account's placements that are under way or UNKNOWN, as they stand."""
        rows = await self._connection.execute(_PLACEMENTS, {"account_id": account_id})
        return [placement_of(row) for row in rows.mappings()]

    async def bound(self, account_id: UUID, broker_order_ids: list[str]) -> set[str]:
        """Return which of these broker order ids belong to an order of the account already."""
        params = {"account_id": account_id, "broker_order_ids": broker_order_ids}
        return {row[0] for row in await self._connection.execute(_BOUND, params)}

    async def prove_absent(self, order_id: UUID, *, attempt: int, reason: str) -> Ring | None:
        """Let an UNKNOWN order wait to be sent again; None where it is not that attempt's UNKNOWN order any more."""
        params = {"order_id": order_id, "attempt": attempt, "reason": reason}
        row = (await self._connection.execute(_PROVE_ABSENT, params)).mappings().first()
        return ring_of(row) if row else None

    async def discover(self, account_id: UUID, found: Discovery) -> bool:
        """Store an order of the broker's book; false where an order of ours has its broker order id already."""
        detail = {"broker_order_id": found.broker_order_id, "origin": found.origin.value, "tag": found.tag or ""}
        params = {
            "account_id": account_id,
            "id": found.id,
            "origin": found.origin.value,
            "status": found.status.value,
            "done": found.done,
            "reason": found.reason,
            "instrument_id": found.instrument_id,
            "side": found.side.value,
            "quantity": found.quantity,
            "order_type": found.order_type.value,
            "product": found.product.value,
            "validity": found.validity,
            "price": found.price,
            "trigger_price": found.trigger_price,
            "broker_order_id": found.broker_order_id,
            "broker_unique_id": found.broker_unique_id,
            "tag": found.tag,
            "detail": json.dumps(detail),
        }
        return int((await self._connection.execute(_DISCOVER, params)).scalar_one()) == 1

    async def instruments(
        self, account_id: UUID, *, tokens: list[str], symbols: list[str]
    ) -> dict[tuple[Exchange, str], UUID]:
        """Return instruments by exchange and token, and by exchange and trading symbol, as the broker names them."""
        params = {"account_id": account_id, "tokens": tokens, "symbols": symbols}
        rows = list(await self._connection.execute(_INSTRUMENTS, params))
        named = {(Exchange(row.exchange), str(row.trading_symbol)): row.id for row in rows}
        return named | {(Exchange(row.exchange), str(row.token)): row.id for row in rows}

    async def unknown_modifies(self, account_id: UUID) -> list[UnknownModify]:
        """Return the account's changes of which nobody knows whether they were made."""
        rows = await self._connection.execute(_UNKNOWN_MODIFIES, {"account_id": account_id})
        return [modify_of(row) for row in rows.mappings()]

    async def adopt_terms(self, order_id: UUID, terms: OrderTerms, *, unchanged_since: datetime) -> bool:
        """Take over what somebody changed at the broker; false where a change of ours is open or came in since."""
        detail = {
            "reason": "changed at the broker",
            "quantity": str(terms.quantity),
            "price": str(terms.price),
            "trigger_price": str(terms.trigger_price),
        }
        params = {
            "order_id": order_id,
            "quantity": terms.quantity,
            "price": terms.price,
            "trigger_price": terms.trigger_price,
            "unchanged_since": unchanged_since,
            "detail": json.dumps(detail),
        }
        return int((await self._connection.execute(_ADOPT_TERMS, params)).scalar_one()) == 1

    async def untold_unknown(self, *, overdue_s: float, batch: int) -> list[UnknownOrder]:
        """Return UNKNOWN orders of all accounts of which no alert tells how they stand."""
        rows = await self._connection.execute(_UNTOLD_UNKNOWN, {"overdue_s": overdue_s, "batch": batch})
        return [UnknownOrder(*row) for row in rows]

    async def has_alerts_of_settled(self) -> bool:
        """Whether alerts are open of orders that are UNKNOWN, or of an unknown status text, no longer."""
        return bool((await self._connection.execute(_HAS_SETTLED_ALERTS)).scalar_one())

    async def close_alerts_of_settled(self) -> None:
        """Close them."""
        await self._connection.execute(_CLOSE_SETTLED_ALERTS)
