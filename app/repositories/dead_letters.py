"""Dead letters: commands that can go no further are PARKED with a reason, until a person requeues or closes them.

Only what provably is not on its way is parked: PENDING commands. Locks are taken in the order order, command.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.commands import CommandKind
from app.core.orders import OrderStatus
from app.core.ports import Ring
from app.core.transitions import OrderEvent
from app.repositories.accounts import LOGGED_OUT
from app.repositories.command_rows import ring_of
from app.repositories.transition_sql import case_by_status

CRASH_LENGTH_MAX = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A parked command. `reason` starts with a stable code; `parked_at` is None where its event was not written."""

    command_id: UUID
    order_id: UUID
    account_id: UUID
    kind: CommandKind
    reason: str
    attempt: int
    status: OrderStatus
    parked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedCommand:
    """What was parked just now."""

    command_id: UUID
    order_id: UUID
    account_id: UUID
    kind: CommandKind


def _park(which: str) -> str:
    return f"""
WITH stuck AS (
  SELECT c.id AS command_id, c.kind, c.account_id, o.id AS order_id, o.status
  FROM orders o JOIN order_commands c ON c.order_id = o.id {which}
  FOR UPDATE OF o, c SKIP LOCKED
), parked AS (
  UPDATE order_commands c SET state = 'PARKED', reason = :reason FROM stuck WHERE c.id = stuck.command_id
), e AS (
  INSERT INTO order_events (order_id, event, status, actor, detail)
  SELECT order_id, 'PARKED', status, :actor, jsonb_build_object('kind', kind, 'reason', CAST(:reason AS text))
  FROM stuck
)
SELECT command_id, order_id, account_id, kind FROM stuck
"""


_PARK_ONE = text(_park("WHERE c.id = :command_id AND c.state = 'PENDING'"))

# An entry that has waited so long for a login is not what its caller wants any more; exits wait on.
_PARK_LOGGED_OUT = text(
    _park(f"""
  JOIN broker_accounts a ON a.id = o.account_id LEFT JOIN broker_sessions s ON s.account_id = a.id
  WHERE c.state = 'PENDING' AND c.kind = 'PLACE' AND o.purpose = 'ENTRY' AND o.status = 'PENDING' AND {LOGGED_OUT}
    AND greatest(o.saved_at, coalesce(CASE WHEN s.state = 'LOGGED_IN' THEN s.expires_at ELSE s.updated_at END,
      a.created_at)) < clock_timestamp() - make_interval(secs => CAST(:after_s AS double precision))
  ORDER BY c.created_at LIMIT :batch""")
)

# Counted only while nobody carries the command: a crash while sending is a claim's to settle.
_CRASHED = text("""
UPDATE order_commands SET reason = :reason, crashes = CASE WHEN reason = :reason THEN crashes + 1 ELSE 1 END
WHERE id = :command_id AND state = 'PENDING' RETURNING crashes
""")

_PAGE = text("""
SELECT c.id AS command_id, c.order_id, c.account_id, c.kind, coalesce(c.reason, '') AS reason, c.attempt, o.status,
  (SELECT max(e.at) FROM order_events e WHERE e.order_id = o.id AND e.event = 'PARKED') AS parked_at
FROM order_commands c JOIN orders o ON o.id = c.order_id
WHERE c.state = 'PARKED' AND (CAST(:account_id AS uuid) IS NULL OR c.account_id = :account_id)
  AND (CAST(:before AS uuid) IS NULL OR c.id < :before)
ORDER BY c.id DESC LIMIT :limit
""")
_COUNT = text("SELECT count(*) FROM order_commands WHERE state = 'PARKED'")

# Attempts count on, so that the late finding of an old attempt never passes for a new one's.
_REQUEUE = text("""
WITH held AS (
  SELECT c.id AS command_id, c.kind, o.id AS order_id, o.status, o.instrument_id
  FROM orders o JOIN order_commands c ON c.order_id = o.id
  WHERE c.id = :command_id AND c.state = 'PARKED' FOR UPDATE OF o, c
), c AS (
  UPDATE order_commands c SET state = 'PENDING', reason = NULL, crashes = 0,
    attempt_limit = c.attempt + CASE c.kind WHEN 'CANCEL' THEN 20 ELSE 50 END,
    ring_after = clock_timestamp() + interval '2 seconds'
  FROM held WHERE c.id = held.command_id
  RETURNING c.id, c.account_id, c.urgency, c.created_at
), e AS (
  INSERT INTO order_events (order_id, event, status, actor, detail)
  SELECT order_id, 'REQUEUED', status, :actor,
    jsonb_build_object('kind', kind, 'reason', CAST(:reason AS text)) FROM held
)
SELECT c.id, c.account_id, c.urgency, c.created_at, i.exchange
FROM c CROSS JOIN held JOIN instruments i ON i.id = held.instrument_id
""")

# A placement that is given up takes its order with it, and whatever else was wanted of that order.
_CLOSE = text(f"""
WITH held AS (
  SELECT c.id AS command_id, c.kind, o.id AS order_id, o.status
  FROM orders o JOIN order_commands c ON c.order_id = o.id
  WHERE c.id = :command_id AND c.state = 'PARKED' FOR UPDATE OF o, c
), o AS (
  UPDATE orders o SET status = {case_by_status(OrderEvent.CANCELLED_UNSENT)}, status_reason = :reason,
    done_at = clock_timestamp()
  FROM held WHERE o.id = held.order_id AND held.kind = 'PLACE' AND held.status = 'PENDING'
  RETURNING o.id, o.status
), c AS (
  UPDATE order_commands c SET state = 'DONE' FROM held
  WHERE c.id = held.command_id OR (c.order_id = held.order_id AND held.kind = 'PLACE' AND c.state <> 'DONE')
), e AS (
  INSERT INTO order_events (order_id, event, status, actor, detail)
  SELECT id, 'CANCELLED_UNSENT', status, :actor, jsonb_build_object('reason', CAST(:reason AS text)) FROM o
  UNION ALL
  SELECT order_id, kind || '_DROPPED', status, :actor, jsonb_build_object('reason', CAST(:reason AS text))
  FROM held WHERE kind <> 'PLACE'
)
SELECT order_id FROM held
""")

_CLOSE_ALERTS = text("""
UPDATE alerts l SET closed_at = clock_timestamp()
WHERE l.kind = 'COMMAND_PARKED' AND l.closed_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM order_commands c WHERE c.order_id = l.order_id AND c.state = 'PARKED')
""")


class DeadLetterRepository:
    """SQL of parked commands. Alerts and audit entries are the caller's, in the same transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def park(self, command_id: UUID, *, reason: str, actor: str) -> ParkedCommand | None:
        """Park a waiting command; None where it does not wait (any more), or somebody has it at this moment."""
        params = {"command_id": command_id, "reason": reason, "actor": actor}
        row = (await self._connection.execute(_PARK_ONE, params)).mappings().first()
        return _parked(row) if row else None

    async def park_logged_out(self, *, reason: str, after_s: float, batch: int, actor: str) -> list[ParkedCommand]:
        """Park entries of accounts that are logged out, where both last for longer than `after_s` seconds."""
        params = {"reason": reason, "after_s": after_s, "batch": batch, "actor": actor}
        return [_parked(row) for row in (await self._connection.execute(_PARK_LOGGED_OUT, params)).mappings()]

    async def note_crash(self, command_id: UUID, reason: str) -> int:
        """Count that carrying a waiting command failed here; returns how often for this reason in a row."""
        params = {"command_id": command_id, "reason": reason[:CRASH_LENGTH_MAX]}
        return int((await self._connection.execute(_CRASHED, params)).scalar() or 0)

    async def page(self, *, account_id: UUID | None, before: UUID | None, limit: int) -> list[DeadLetter]:
        """Return parked commands, newest first; `before` is the id of the last one of the page before."""
        params = {"account_id": account_id, "before": before, "limit": limit}
        rows = (await self._connection.execute(_PAGE, params)).mappings()
        return [
            DeadLetter(**{**row, "kind": CommandKind(row["kind"]), "status": OrderStatus(row["status"])})
            for row in rows
        ]

    async def count(self) -> int:
        """Return how many commands are parked."""
        return int((await self._connection.execute(_COUNT)).scalar_one())

    async def requeue(self, command_id: UUID, *, reason: str, actor: str) -> Ring | None:
        """Let a parked command wait for a worker again; returns its bell, None where it is not parked."""
        params = {"command_id": command_id, "reason": reason, "actor": actor}
        row = (await self._connection.execute(_REQUEUE, params)).mappings().first()
        return ring_of(row) if row else None

    async def close(self, command_id: UUID, *, reason: str, actor: str) -> UUID | None:
        """Give a parked command up, a placement's order with it; returns the order's id, None where not parked."""
        params = {"command_id": command_id, "reason": reason, "actor": actor}
        return (await self._connection.execute(_CLOSE, params)).scalar()

    async def close_alerts_of_gone(self) -> int:
        """Close the alerts of commands that are parked no longer; returns how many."""
        return (await self._connection.execute(_CLOSE_ALERTS)).rowcount


def _parked(row: RowMapping) -> ParkedCommand:
    return ParkedCommand(**{**row, "kind": CommandKind(row["kind"])})
