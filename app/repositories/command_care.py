"""Commands that nobody looks after: unrung, held, to be repeated, overtaken by their order's end, or given up."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.commands import CommandKind
from app.core.ports import Ring
from app.core.transitions import OrderEvent
from app.repositories.command_rows import ring_of
from app.repositories.dead_letters import ParkedCommand
from app.repositories.transition_sql import CHANGE_IS_OVER, TERMINAL, case_by_status

TOO_MANY_ATTEMPTS = "too_many_attempts"

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


# As soon as it is known where an order is, the cancel that was held for it is sent, needs no sending, or is too late.
def _release(which: str) -> TextClause:
    return text(f"""
WITH held AS (
  SELECT c.id AS command_id, o.id AS order_id, o.status
  FROM orders o JOIN order_commands c ON c.order_id = o.id
  WHERE c.kind = 'CANCEL' AND c.state = 'HELD' AND o.status NOT IN ('SUBMITTING', 'UNKNOWN') AND {which}
  ORDER BY c.created_at LIMIT :batch
  FOR UPDATE OF o, c SKIP LOCKED
), cancelled AS (
  UPDATE orders o
  SET status = {case_by_status(OrderEvent.CANCELLED_UNSENT)}, status_reason = 'cancelled before it was sent',
    done_at = clock_timestamp()
  FROM held WHERE o.id = held.order_id AND held.status = 'PENDING'
  RETURNING o.id, o.status
), ended AS (
  UPDATE order_commands c
  SET state = CASE WHEN c.id = held.command_id AND held.status IN ('PLACED', 'PARTIALLY_FILLED') THEN 'PENDING'
      ELSE 'DONE' END,
    ring_after = clock_timestamp() + interval '2 seconds'
  FROM held
  WHERE c.order_id = held.order_id AND c.state <> 'DONE' AND (c.id = held.command_id OR held.status = 'PENDING')
  RETURNING c.*
), e AS (
  INSERT INTO order_events (order_id, event, status, actor)
  SELECT id, 'CANCELLED_UNSENT', status, :actor FROM cancelled
  UNION ALL SELECT order_id, 'CANCEL_DROPPED', status, :actor FROM held WHERE status IN ({TERMINAL})
)
SELECT c.id, c.account_id, c.urgency, c.created_at, i.exchange
FROM ended c JOIN orders o ON o.id = c.order_id JOIN instruments i ON i.id = o.instrument_id WHERE c.state = 'PENDING'
""")


_RELEASE_DUE = _release("TRUE")
_RELEASE_OF = _release("o.id = ANY(:order_ids)")


def _end_over(which: str) -> TextClause:
    return text(f"""
WITH over AS (
  SELECT c.id AS command_id, c.kind, o.id AS order_id, o.status
  FROM orders o JOIN order_commands c ON c.order_id = o.id
  WHERE c.kind <> 'PLACE' AND c.state <> 'DONE' AND c.state <> 'SUBMITTING' AND {CHANGE_IS_OVER} AND {which}
  ORDER BY c.created_at LIMIT :batch
  FOR UPDATE OF o, c SKIP LOCKED
), c AS (
  UPDATE order_commands c SET state = 'DONE', reason = coalesce(c.reason, 'its order is over')
  FROM over WHERE c.id = over.command_id
), e AS (
  INSERT INTO order_events (order_id, event, status, actor)
  SELECT order_id, kind || '_DROPPED', status, :actor FROM over
)
SELECT count(*) FROM over
""")


_END_ALL_OVER = _end_over("TRUE")
_END_ONE_OVER = _end_over("c.id = :command_id")

# Not "is PLACED or PARTIALLY_FILLED": that would tempt the planner into reading all open orders.
_CANCEL_AGAIN = text(f"""
WITH due AS (
  SELECT c.id AS command_id
  FROM orders o JOIN order_commands c ON c.order_id = o.id
  WHERE c.kind = 'CANCEL' AND c.state = 'UNKNOWN' AND c.ring_after < clock_timestamp()
    AND c.attempt < c.attempt_limit AND o.status NOT IN ({TERMINAL})
  ORDER BY c.ring_after LIMIT :batch
  FOR UPDATE OF o, c SKIP LOCKED
), c AS (
  UPDATE order_commands c SET state = 'PENDING', ring_after = clock_timestamp() + interval '2 seconds'
  FROM due WHERE c.id = due.command_id
  RETURNING c.*
)
SELECT c.id, c.account_id, c.urgency, c.created_at, i.exchange
FROM c JOIN orders o ON o.id = c.order_id JOIN instruments i ON i.id = o.instrument_id
""")


def _park(which: str) -> TextClause:
    return text(f"""
WITH spent AS (
  SELECT c.id AS command_id, c.kind, c.account_id, o.id AS order_id, o.status
  FROM orders o JOIN order_commands c ON c.order_id = o.id
  WHERE c.attempt >= c.attempt_limit AND {which}
  ORDER BY c.created_at LIMIT :batch
  FOR UPDATE OF o, c SKIP LOCKED
), c AS (
  UPDATE order_commands c SET state = 'PARKED', reason = :reason FROM spent WHERE c.id = spent.command_id
), e AS (
  INSERT INTO order_events (order_id, event, status, actor, detail)
  SELECT order_id, 'PARKED', status, :actor, jsonb_build_object('kind', kind, 'reason', CAST(:reason AS text))
  FROM spent
)
SELECT command_id, kind, order_id, account_id FROM spent
""")


_PARK_ONE = _park("c.id = :command_id AND c.state = 'PENDING'")
_PARK_CANCELS = _park("c.kind = 'CANCEL' AND c.state = 'UNKNOWN'")


class CommandCare:
    """The part of the command repository that keepers use."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def take_unrung(self, *, batch: int) -> list[Ring]:
        """Return commands that have waited too long for a bell, most urgent first, and mark them as rung now."""
        rows = (await self._connection.execute(_UNRUNG, {"batch": batch})).mappings()
        rings = [ring_of(row) for row in rows]
        return sorted(rings, key=lambda ring: (-ring.urgency.band, ring.enqueued_at))

    async def mark_all_unrung(self) -> None:
        """Make every waiting command due for its bell: Redis was wiped."""
        await self._connection.execute(_ALL_UNRUNG)

    async def release_held(
        self, order_ids: Sequence[UUID] | None = None, *, batch: int = 200, actor: str = "keeper"
    ) -> list[Ring]:
        """Settle cancels that were held until it was known where their orders are; returns the bells to ring now.

        An order that waits to be sent (again) becomes CANCELLED and is never sent; a cancel of one that rests is
        sent; one of an order that is over is dropped. What another transaction has locked is left for the next turn.
        """
        params: dict[str, object] = {"batch": batch, "actor": actor}
        if order_ids is None:
            rows = await self._connection.execute(_RELEASE_DUE, params)
        else:
            rows = await self._connection.execute(_RELEASE_OF, params | {"order_ids": list(order_ids)})
        return [ring_of(row) for row in rows.mappings()]

    async def end_over(self, *, batch: int = 200, actor: str = "keeper") -> int:
        """End the modifies and cancels of orders that are over; returns how many."""
        return int((await self._connection.execute(_END_ALL_OVER, {"batch": batch, "actor": actor})).scalar_one())

    async def end_if_over(self, command_id: UUID, *, actor: str) -> bool:
        """End one modify or cancel whose order is over; false where that is not so."""
        params = {"batch": 1, "actor": actor, "command_id": command_id}
        return int((await self._connection.execute(_END_ONE_OVER, params)).scalar_one()) == 1

    async def repeat_cancels(self, *, batch: int) -> list[Ring]:
        """Let ambiguous cancels of orders that still rest be sent again; returns the bells to ring now."""
        return [ring_of(row) for row in (await self._connection.execute(_CANCEL_AGAIN, {"batch": batch})).mappings()]

    async def park_if_spent(self, command_id: UUID, *, actor: str) -> list[ParkedCommand]:
        """Park a waiting command that had all its attempts; the caller opens the alert in this transaction."""
        return await self._parked(_PARK_ONE, {"batch": 1, "actor": actor, "command_id": command_id})

    async def park_spent_cancels(self, *, batch: int = 200, actor: str = "keeper") -> list[ParkedCommand]:
        """Park cancels that stayed ambiguous to their last attempt; the caller opens the alerts likewise."""
        return await self._parked(_PARK_CANCELS, {"batch": batch, "actor": actor})

    async def _parked(self, statement: TextClause, params: dict[str, object]) -> list[ParkedCommand]:
        rows = await self._connection.execute(statement, params | {"reason": TOO_MANY_ATTEMPTS})
        return [ParkedCommand(**{**row, "kind": CommandKind(row["kind"])}) for row in rows.mappings()]
