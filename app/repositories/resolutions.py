"""What a person makes of an UNKNOWN order."""

from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.ports import Ring
from app.core.transitions import OrderEvent
from app.repositories.command_rows import ring_of
from app.repositories.transition_sql import TERMINAL, case_by_status, is_legal

RESOLUTIONS = (OrderEvent.RESOLVED_PLACED, OrderEvent.RESOLVED_ABSENT, OrderEvent.RESOLVED_RESEND)


class BrokerOrderTaken(Exception):
    """Another order of the account has this broker order id."""


def _statement(event: OrderEvent) -> TextClause:
    return text(f"""
WITH held AS (
  SELECT o.id AS order_id, c.id AS command_id
  FROM orders o JOIN order_commands c ON c.order_id = o.id AND c.kind = 'PLACE'
  WHERE o.id = :order_id AND {is_legal(event)}
  FOR UPDATE OF o, c
), o AS (
  UPDATE orders o
  SET status = {case_by_status(event)}, status_reason = CAST(:reason AS text),
    broker_order_id = coalesce(o.broker_order_id, CAST(:broker_order_id AS text)),
    acknowledged_at = CASE WHEN CAST(:broker_order_id AS text) IS NULL THEN o.acknowledged_at
      ELSE coalesce(o.acknowledged_at, clock_timestamp()) END,
    done_at = CASE WHEN {case_by_status(event)} IN ({TERMINAL}) THEN clock_timestamp() END
  FROM held WHERE o.id = held.order_id
  RETURNING o.id, o.status, o.instrument_id
), c AS (
  UPDATE order_commands c
  SET state = CASE WHEN o.status = 'PENDING' THEN 'PENDING' ELSE 'DONE' END,
    ring_after = clock_timestamp() + interval '2 seconds'
  FROM held JOIN o ON o.id = held.order_id WHERE c.id = held.command_id
  RETURNING c.*
), e AS (
  INSERT INTO order_events (order_id, event, status, actor, detail)
  SELECT o.id, '{event}', o.status, :actor, jsonb_strip_nulls(jsonb_build_object(
    'reason', CAST(:reason AS text), 'broker_order_id', CAST(:broker_order_id AS text))) FROM o
)
SELECT c.id, c.account_id, c.urgency, c.created_at, i.exchange
FROM c JOIN o ON o.id = c.order_id JOIN instruments i ON i.id = o.instrument_id
""")


_RESOLVE = {event: _statement(event) for event in RESOLUTIONS}


class ResolutionRepository:
    """SQL that moves an UNKNOWN order on by a person's word."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def resolve(
        self, order_id: UUID, event: OrderEvent, *, broker_order_id: str | None, actor: str, reason: str
    ) -> Ring | None:
        """Move the order on; returns its placement's bell, or None where it is not UNKNOWN.

        Raises `BrokerOrderTaken`, after which the transaction cannot go on.
        """
        params = {"order_id": order_id, "broker_order_id": broker_order_id, "actor": actor, "reason": reason}
        try:
            row = (await self._connection.execute(_RESOLVE[event], params)).mappings().first()
        except IntegrityError as error:
            if "uq_orders_account_id_broker_order_id" in str(error.orig):
                raise BrokerOrderTaken(broker_order_id) from error
            raise
        return ring_of(row) if row else None
