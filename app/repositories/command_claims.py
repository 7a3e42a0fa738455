"""Claiming commands: one statement gives a command to one process, or says nothing and changes nothing.

Locks are taken in one order everywhere: order, command, positions. Order and command are locked and looked at again
together: a statement that waited for another writer must not judge by what it saw before.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.commands import CommandKind, CommandState
from app.core.orders import OrderStatus
from app.core.transitions import OrderEvent
from app.repositories.command_rows import Claim, Standing, claim_of
from app.repositories.transition_sql import case_by_status, is_legal

# Looked up first and alone, so that the order is always found by its key, whatever the planner knows of the tables.
_ORDER_OF_COMMAND = "(SELECT order_id FROM order_commands WHERE id = :command_id)"

_PLACE = text(f"""
WITH held AS (
  SELECT o.id, a.broker
  FROM orders o JOIN order_commands c ON c.order_id = o.id JOIN broker_accounts a ON a.id = o.account_id
  LEFT JOIN market_clock m ON m.source = a.market_source
  WHERE c.id = :command_id AND c.kind = 'PLACE' AND c.state = 'PENDING' AND c.attempt < c.attempt_limit
    AND o.id = {_ORDER_OF_COMMAND} AND {is_legal(OrderEvent.CLAIMED)} AND o.broker_order_id IS NULL
    AND o.cancel_wanted_at IS NULL AND a.status = 'ACTIVE' AND (o.deadline IS NULL OR o.deadline > m.market_time)
    AND (o.purpose = 'EXIT' OR NOT EXISTS (SELECT 1 FROM account_blocks b WHERE b.account_id = o.account_id))
  FOR UPDATE OF o, c
), o AS (
  UPDATE orders o
  SET status = {case_by_status(OrderEvent.CLAIMED)}, rung_at = coalesce(CAST(:rung_at AS timestamptz), o.rung_at),
    claimed_at = clock_timestamp()
  FROM held WHERE o.id = held.id
  RETURNING o.*, held.broker
), c AS (
  UPDATE order_commands c
  SET state = 'SUBMITTING', attempt = c.attempt + 1, claimed_by = :worker, claimed_at = clock_timestamp(),
    send_by = clock_timestamp() + make_interval(secs => CAST(:window_s AS double precision))
  FROM o WHERE c.id = :command_id
  RETURNING c.attempt
), e AS (
  INSERT INTO order_events (order_id, event, status, actor, detail)
  SELECT o.id, 'CLAIMED', o.status, :worker, jsonb_build_object('attempt', CAST(c.attempt AS text)) FROM o, c
)
SELECT o.id AS order_id, c.attempt, 'PLACE' AS kind, o.broker_order_id, i.exchange, s.trading_symbol, s.token, o.side,
  o.quantity, o.order_type, o.product, o.validity, o.price, o.trigger_price, o.tag
FROM o CROSS JOIN c JOIN instruments i ON i.id = o.instrument_id
LEFT JOIN broker_symbols s ON s.broker = o.broker AND s.instrument_id = o.instrument_id
""")

# A paused or blocked account still changes and cancels what rests, but raising an entry is as good as another one.
_IS_HELD_BACK = """(c.kind = 'MODIFY' AND o.purpose = 'ENTRY' AND c.quantity > o.quantity AND (
  EXISTS (SELECT 1 FROM broker_accounts p WHERE p.id = o.account_id AND p.status <> 'ACTIVE')
  OR EXISTS (SELECT 1 FROM account_blocks b WHERE b.account_id = o.account_id)))"""

_CHANGE = text(f"""
WITH held AS (
  SELECT o.*
  FROM orders o JOIN order_commands c ON c.order_id = o.id
  WHERE c.id = :command_id AND c.kind <> 'PLACE' AND c.state = 'PENDING' AND c.attempt < c.attempt_limit
    AND o.id = {_ORDER_OF_COMMAND} AND o.status IN ('PLACED', 'PARTIALLY_FILLED') AND o.broker_order_id IS NOT NULL
    AND NOT {_IS_HELD_BACK}
  FOR UPDATE OF o, c
), c AS (
  UPDATE order_commands c
  SET state = 'SUBMITTING', attempt = c.attempt + 1, claimed_by = :worker, claimed_at = clock_timestamp(),
    send_by = clock_timestamp() + make_interval(secs => CAST(:window_s AS double precision))
  FROM held
  WHERE c.id = :command_id
    AND NOT EXISTS (SELECT 1 FROM order_commands s WHERE s.order_id = held.id AND s.state = 'SUBMITTING')
  RETURNING c.*
), e AS (
  INSERT INTO order_events (order_id, event, status, actor, detail)
  SELECT o.id, c.kind || '_CLAIMED', o.status, :worker, jsonb_build_object('attempt', CAST(c.attempt AS text))
  FROM held o, c
)
SELECT o.id AS order_id, c.attempt, c.kind, o.broker_order_id, i.exchange, s.trading_symbol, s.token, o.side,
  coalesce(c.quantity, o.quantity) AS quantity, coalesce(c.order_type, o.order_type) AS order_type, o.product,
  o.validity, CASE WHEN c.kind = 'MODIFY' THEN c.price ELSE o.price END AS price,
  CASE WHEN c.kind = 'MODIFY' THEN c.trigger_price ELSE o.trigger_price END AS trigger_price, o.tag
FROM held o CROSS JOIN c JOIN instruments i ON i.id = o.instrument_id JOIN broker_accounts a ON a.id = o.account_id
LEFT JOIN broker_symbols s ON s.broker = a.broker AND s.instrument_id = o.instrument_id
""")

_EXPIRE = text(f"""
WITH o AS (
  UPDATE orders o
  SET status = {case_by_status(OrderEvent.DEADLINE_PASSED)}, status_reason = 'the deadline passed before it was sent',
    done_at = clock_timestamp()
  FROM order_commands c, broker_accounts a JOIN market_clock m ON m.source = a.market_source
  WHERE c.id = :command_id AND c.kind = 'PLACE' AND c.state = 'PENDING' AND o.id = {_ORDER_OF_COMMAND}
    AND a.id = o.account_id AND {is_legal(OrderEvent.DEADLINE_PASSED)} AND o.deadline <= m.market_time
  RETURNING o.id, o.status
), c AS (
  UPDATE order_commands c SET state = 'DONE' FROM o WHERE c.id = :command_id
), e AS (
  INSERT INTO order_events (order_id, event, status, actor)
  SELECT o.id, 'DEADLINE_PASSED', o.status, :worker FROM o
)
SELECT count(*) FROM o
""")

_STANDING = text(f"""
SELECT c.order_id, c.account_id, c.kind, c.state, c.attempt >= c.attempt_limit AS spent, o.status,
  o.cancel_wanted_at IS NOT NULL AS cancel_wanted, {_IS_HELD_BACK} AS held_back
FROM order_commands c JOIN orders o ON o.id = c.order_id WHERE c.id = :command_id
""")


class CommandClaims:
    """The part of the command repository that gives commands to workers."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def claim(self, command_id: UUID, *, worker: str, window_s: float, rung_at: datetime | None) -> Claim | None:
        """Claim a waiting placement.

        None where it is not waiting, its account is paused, its deadline has passed, a cancel of it is wanted, it is
        the entry of a blocked account, or it had all its attempts; and for every modify and cancel.
        """
        params = {"command_id": command_id, "worker": worker, "window_s": window_s, "rung_at": rung_at}
        row = (await self._connection.execute(_PLACE, params)).mappings().first()
        return None if row is None else claim_of(command_id, row)

    async def claim_change(self, command_id: UUID, *, worker: str, window_s: float) -> Claim | None:
        """Claim a waiting modify or cancel of an order that rests at the broker.

        None where it is not waiting, its order does not rest, it had all its attempts, another command of the order
        is on its way, or it raises an entry of an account that takes none.
        """
        params = {"command_id": command_id, "worker": worker, "window_s": window_s}
        try:
            row = (await self._connection.execute(_CHANGE, params)).mappings().first()
        except IntegrityError as error:
            # The other command was claimed while this statement waited for the order.
            if "uq_order_commands_in_flight" in str(error.orig):
                return None
            raise
        return None if row is None else claim_of(command_id, row)

    async def standing(self, command_id: UUID) -> Standing | None:
        """Return how a command stands that could not be claimed; None where there is no such command."""
        row = (await self._connection.execute(_STANDING, {"command_id": command_id})).mappings().first()
        if row is None:
            return None
        return Standing(
            **{
                **row,
                "kind": CommandKind(row["kind"]),
                "state": CommandState(row["state"]),
                "status": OrderStatus(row["status"]),
            }
        )

    async def expire(self, command_id: UUID, *, worker: str) -> bool:
        """End a waiting placement whose order's deadline has passed; false where that is not so."""
        params = {"command_id": command_id, "worker": worker}
        return int((await self._connection.execute(_EXPIRE, params)).scalar_one()) == 1
