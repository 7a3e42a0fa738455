"""Commands: claiming them, recording how they ended, and finding those that nobody looks after.

Every statement that moves an order takes its statuses from the transition table, compares and sets in one go, and
writes the event row with it. Locks are taken in one order everywhere: order, command, positions.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import RowMapping, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.commands import CommandState
from app.core.instruments import Exchange
from app.core.orders import TERMINAL_STATUSES, OrderStatus, OrderType, Product, Side, Urgency, Validity
from app.core.ports import Ring
from app.core.transitions import OrderEvent, sources


class Claim(NamedTuple):
    """A command that this process alone may send, until `send_by` by the database's clock."""

    command_id: UUID
    order_id: UUID
    attempt: int
    exchange: Exchange
    trading_symbol: str | None
    token: str | None
    side: Side
    quantity: int
    order_type: OrderType
    product: Product
    validity: Validity
    price: Decimal | None
    trigger_price: Decimal | None
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How a claimed command ended: what is recorded of it."""

    event: OrderEvent
    command_state: CommandState
    reason: str | None = None
    broker_order_id: str | None = None
    broker_unique_id: str | None = None
    sent_at: datetime | None = None
    acknowledged_at: datetime | None = None


def case_by_status(event: OrderEvent) -> str:
    """Return the SQL expression for the status that follows `event`, from the transition table."""
    whens = " ".join(f"WHEN '{status}' THEN '{to}'" for status, to in sources(event).items())
    return f"CASE o.status {whens} END"


def is_legal(event: OrderEvent) -> str:
    """Return the SQL condition that `event` is legal for an order found by its id.

    It does not name the statuses as `legal_statuses` does, for the planner must not look for the order among all
    open ones: as long as it has no statistics that seems as good to it, and a backlog then makes every claim slower.
    """
    return f"({case_by_status(event)}) IS NOT NULL"


def legal_statuses(event: OrderEvent) -> str:
    """Return the SQL list of statuses in which `event` is legal."""
    return ", ".join(f"'{status}'" for status in sources(event))


# Looked up first and alone, so that the order is always found by its key, whatever the planner knows of the tables.
_ORDER_OF_COMMAND = "(SELECT order_id FROM order_commands WHERE id = :command_id)"

_TERMINAL = ", ".join(f"'{status}'" for status in TERMINAL_STATUSES)

_CLAIM = text(f"""
WITH o AS (
  UPDATE orders o
  SET status = {case_by_status(OrderEvent.CLAIMED)}, rung_at = coalesce(CAST(:rung_at AS timestamptz), o.rung_at),
    claimed_at = clock_timestamp()
  FROM order_commands c, broker_accounts a LEFT JOIN market_clock m ON m.source = a.market_source
  WHERE c.id = :command_id AND c.state = 'PENDING' AND o.id = {_ORDER_OF_COMMAND} AND a.id = o.account_id
    AND {is_legal(OrderEvent.CLAIMED)} AND o.broker_order_id IS NULL AND a.status = 'ACTIVE'
    AND (o.deadline IS NULL OR o.deadline > m.market_time)
  RETURNING o.*, a.broker
), c AS (
  UPDATE order_commands c
  SET state = 'SUBMITTING', attempt = c.attempt + 1, claimed_by = :worker,
    send_by = clock_timestamp() + make_interval(secs => CAST(:window_s AS double precision))
  FROM o WHERE c.id = :command_id
  RETURNING c.attempt
), e AS (
  INSERT INTO order_events (order_id, event, status, actor, detail)
  SELECT o.id, 'CLAIMED', o.status, :worker, jsonb_build_object('attempt', CAST(c.attempt AS text)) FROM o, c
)
SELECT o.id AS order_id, c.attempt, i.exchange, s.trading_symbol, s.token, o.side, o.quantity, o.order_type,
  o.product, o.validity, o.price, o.trigger_price, o.tag
FROM o CROSS JOIN c JOIN instruments i ON i.id = o.instrument_id
LEFT JOIN broker_symbols s ON s.broker = o.broker AND s.instrument_id = o.instrument_id
""")

_EXPIRE = text(f"""
WITH o AS (
  UPDATE orders o
  SET status = {case_by_status(OrderEvent.DEADLINE_PASSED)}, status_reason = 'the deadline passed before it was sent',
    done_at = clock_timestamp()
  FROM order_commands c, broker_accounts a JOIN market_clock m ON m.source = a.market_source
  WHERE c.id = :command_id AND c.state = 'PENDING' AND o.id = {_ORDER_OF_COMMAND} AND a.id = o.account_id
    AND {is_legal(OrderEvent.DEADLINE_PASSED)} AND o.deadline <= m.market_time
  RETURNING o.id, o.status
), c AS (
  UPDATE order_commands c SET state = 'DONE' FROM o WHERE c.id = :command_id
), e AS (
  INSERT INTO order_events (order_id, event, status, actor)
  SELECT o.id, 'DEADLINE_PASSED', o.status, :worker FROM o
)
SELECT count(*) FROM o
""")


# Order and command are locked and looked at again together: a statement that waited for another writer must not
# judge the order by what its command was before. A repeated NOT_SENT would else end the next worker's claim.
def _record_statement(event: OrderEvent) -> TextClause:
    return text(f"""
WITH held AS (
  SELECT o.id AS order_id
  FROM orders o JOIN order_commands c ON c.order_id = o.id
  WHERE c.id = :command_id AND c.attempt = :attempt AND c.state <> 'PENDING'
    AND {is_legal(event)}
  FOR UPDATE OF o, c
), o AS (
  UPDATE orders o
  SET status = {case_by_status(event)},
    status_reason = CASE WHEN {case_by_status(event)} = o.status THEN o.status_reason ELSE CAST(:reason AS text) END,
    broker_order_id = coalesce(o.broker_order_id, CAST(:broker_order_id AS text)),
    broker_unique_id = coalesce(o.broker_unique_id, CAST(:broker_unique_id AS text)),
    sent_at = coalesce(CAST(:sent_at AS timestamptz), o.sent_at),
    acknowledged_at = coalesce(CAST(:acknowledged_at AS timestamptz), o.acknowledged_at),
    done_at = CASE WHEN {case_by_status(event)} IN ({_TERMINAL}) THEN coalesce(o.done_at, clock_timestamp()) END
  FROM held WHERE o.id = held.order_id
  RETURNING o.id, o.status
), c AS (
  UPDATE order_commands c
  SET state = CASE WHEN :command_state = 'UNKNOWN' AND o.status <> 'UNKNOWN' THEN 'DONE'
      ELSE CAST(:command_state AS text) END,
    ring_after = clock_timestamp() + interval '2 seconds'
  FROM o WHERE c.id = :command_id
), e AS (
  INSERT INTO order_events (order_id, event, status, actor, detail)
  SELECT o.id, '{event}', o.status, :worker, CAST(:detail AS jsonb) FROM o
)
SELECT status FROM o
""")


_RECORD = {
    event: _record_statement(event)
    for event in (
        OrderEvent.ACCEPTED,
        OrderEvent.REFUSED,
        OrderEvent.NOT_SENT,
        OrderEvent.THROTTLED,
        OrderEvent.AMBIGUOUS,
    )
}

# A claim dies by database time alone. Where the order socket has told the truth meanwhile, only the command ends.
# What another transaction holds is being recorded at this moment: it is looked at again at the next turn.
_BURY = text(f"""
WITH dead AS (
  SELECT c.id AS command_id, o.id AS order_id
  FROM orders o JOIN order_commands c ON c.order_id = o.id
  WHERE c.state = 'SUBMITTING'
    AND c.send_by < clock_timestamp() - make_interval(secs => CAST(:margin_s AS double precision))
  ORDER BY c.send_by LIMIT :batch
  FOR UPDATE OF o, c SKIP LOCKED
), o AS (
  UPDATE orders o
  SET status = {case_by_status(OrderEvent.CLAIM_DIED)},
    status_reason = 'its worker went silent while sending: not known whether the broker has it'
  FROM dead WHERE o.id = dead.order_id AND o.status IN ({legal_statuses(OrderEvent.CLAIM_DIED)})
  RETURNING o.id, o.status
), c AS (
  UPDATE order_commands c
  SET state = CASE WHEN EXISTS (SELECT 1 FROM o WHERE o.id = c.order_id) THEN 'UNKNOWN' ELSE 'DONE' END
  FROM dead WHERE c.id = dead.command_id
  RETURNING c.id
), e AS (
  INSERT INTO order_events (order_id, event, status, actor) SELECT o.id, 'CLAIM_DIED', o.status, :actor FROM o
)
SELECT (SELECT count(*) FROM o) AS unknown, (SELECT count(*) FROM c) AS buried
""")

_UNRUNG = text("""
WITH due AS (
  UPDATE order_commands SET ring_after = clock_timestamp() + interval '10 seconds'
  WHERE id IN (
    SELECT id FROM order_commands WHERE state = 'PENDING' AND ring_after < clock_timestamp()
    ORDER BY band DESC, created_at LIMIT :batch FOR UPDATE SKIP LOCKED
  )
  RETURNING id, order_id, account_id, urgency, created_at
)
SELECT due.id, due.account_id, due.urgency, due.created_at, i.exchange
FROM due JOIN orders o ON o.id = due.order_id JOIN instruments i ON i.id = o.instrument_id
""")

_ALL_UNRUNG = text("""
UPDATE order_commands SET ring_after = clock_timestamp() WHERE state = 'PENDING' AND ring_after > clock_timestamp()
""")


class CommandRepository:
    """SQL of the order_commands table, with the orders that the commands move."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def claim(self, command_id: UUID, *, worker: str, window_s: float, rung_at: datetime | None) -> Claim | None:
        """Claim a waiting command; None where it is not waiting, its account is paused or its deadline passed."""
        params = {"command_id": command_id, "worker": worker, "window_s": window_s, "rung_at": rung_at}
        row = (await self._connection.execute(_CLAIM, params)).mappings().first()
        if row is None:
            return None
        return Claim(
            command_id=command_id,
            order_id=row["order_id"],
            attempt=row["attempt"],
            exchange=Exchange(row["exchange"]),
            trading_symbol=row["trading_symbol"],
            token=row["token"],
            side=Side(row["side"]),
            quantity=row["quantity"],
            order_type=OrderType(row["order_type"]),
            product=Product(row["product"]),
            validity=Validity(row["validity"]),
            price=row["price"],
            trigger_price=row["trigger_price"],
            tag=row["tag"],
        )

    async def expire(self, command_id: UUID, *, worker: str) -> bool:
        """End a waiting command whose order's deadline has passed; false where that is not so."""
        params = {"command_id": command_id, "worker": worker}
        return int((await self._connection.execute(_EXPIRE, params)).scalar_one()) == 1

    async def record(self, claim: Claim, finding: Finding, *, worker: str) -> OrderStatus | None:
        """Record how a claim ended; None where the order has moved on so that this finding no longer fits."""
        detail = {
            key: value
            for key, value in (("reason", finding.reason), ("broker_order_id", finding.broker_order_id))
            if value is not None
        }
        params = {
            "command_id": claim.command_id,
            "attempt": claim.attempt,
            "command_state": finding.command_state.value,
            "reason": finding.reason,
            "broker_order_id": finding.broker_order_id,
            "broker_unique_id": finding.broker_unique_id,
            "sent_at": finding.sent_at,
            "acknowledged_at": finding.acknowledged_at,
            "worker": worker,
            "detail": json.dumps({**detail, "attempt": str(claim.attempt)}),
        }
        row = (await self._connection.execute(_RECORD[finding.event], params)).first()
        return OrderStatus(row.status) if row else None

    async def bury_dead(self, *, margin_s: float, batch: int, actor: str) -> tuple[int, int]:
        """End claims that are past their `send_by`; returns how many orders became UNKNOWN, and all claims ended."""
        params = {"margin_s": margin_s, "batch": batch, "actor": actor}
        row = (await self._connection.execute(_BURY, params)).one()
        return row.unknown, row.buried

    async def take_unrung(self, *, batch: int) -> list[Ring]:
        """Return commands that have waited too long for a bell, most urgent first, and mark them as rung now."""
        rows = (await self._connection.execute(_UNRUNG, {"batch": batch})).mappings()
        rings = [_ring(row) for row in rows]
        return sorted(rings, key=lambda ring: (-ring.urgency.band, ring.enqueued_at))

    async def mark_all_unrung(self) -> None:
        """Make every waiting command due for its bell: Redis was wiped."""
        await self._connection.execute(_ALL_UNRUNG)


def _ring(row: RowMapping) -> Ring:
    return Ring(
        command_id=row["id"],
        account_id=row["account_id"],
        urgency=Urgency(row["urgency"]),
        exchange=Exchange(row["exchange"]),
        enqueued_at=row["created_at"],
    )
