"""Recording how claimed commands ended, and ending the claims of those that went silent.

Every statement that moves an order takes its statuses from the transition table, compares and sets in one go, and
writes the event row with it.
"""

import json
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.commands import CommandKind
from app.core.orders import OrderStatus
from app.core.transitions import OrderEvent
from app.repositories.command_rows import Claim, Finding, Recorded
from app.repositories.transition_sql import CHANGE_IS_OVER, TERMINAL, case_by_status, is_legal, legal_statuses

CANCEL_AGAIN_S_MAX = 30
"""Seconds between repeats of an ambiguous cancel grow from 1 to this."""

# A claim that died has waited long enough before its first repeat.
_BURIED_AGAIN = f"clock_timestamp() + make_interval(secs => least(power(2, c.attempt - 1) - 1, {CANCEL_AGAIN_S_MAX}))"
_CANCEL_AGAIN = f"clock_timestamp() + make_interval(secs => least(power(2, c.attempt - 1), {CANCEL_AGAIN_S_MAX}))"


# Order and command are locked and looked at again together: a statement that waited for another writer must not
# judge the order by what its command was before. A repeated NOT_SENT would else end the next worker's claim.
# A receipt counts even where the order waits to be sent again, or is parked: it keeps it from being sent twice.
def _placement(event: OrderEvent) -> TextClause:
    waits = ", 'PENDING', 'PARKED'" if event is OrderEvent.ACCEPTED else ""
    return text(f"""
WITH held AS (
  SELECT o.id AS order_id
  FROM orders o JOIN order_commands c ON c.order_id = o.id
  WHERE c.id = :command_id AND c.attempt = :attempt AND c.state IN ('SUBMITTING', 'UNKNOWN', 'DONE'{waits})
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
    done_at = CASE WHEN {case_by_status(event)} IN ({TERMINAL}) THEN coalesce(o.done_at, clock_timestamp()) END
  FROM held WHERE o.id = held.order_id
  RETURNING o.id, o.status, o.cancel_wanted_at
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
SELECT status, cancel_wanted_at IS NOT NULL AS cancel_wanted FROM o
""")


_PLACEMENTS = {
    event: _placement(event)
    for event in (
        OrderEvent.ACCEPTED,
        OrderEvent.REFUSED,
        OrderEvent.NOT_SENT,
        OrderEvent.THROTTLED,
        OrderEvent.AMBIGUOUS,
    )
}

# What leaves the order as it is. A late answer that ends the command counts even when it waits to be repeated.
_NOTE = text(f"""
WITH held AS (
  SELECT o.id AS order_id, o.status, c.id AS command_id, {CHANGE_IS_OVER} AS over
  FROM orders o JOIN order_commands c ON c.order_id = o.id
  WHERE c.id = :command_id AND c.kind <> 'PLACE' AND c.attempt = :attempt
    AND (c.state IN ('SUBMITTING', 'UNKNOWN') OR (c.state = 'PENDING' AND :command_state = 'DONE'))
  FOR UPDATE OF o, c
), c AS (
  UPDATE order_commands c
  SET state = CASE WHEN held.over THEN 'DONE' ELSE CAST(:command_state AS text) END,
    reason = coalesce(CAST(:reason AS text), c.reason),
    ring_after = CASE WHEN :command_state = 'UNKNOWN' THEN {_CANCEL_AGAIN}
      ELSE clock_timestamp() + interval '2 seconds' END
  FROM held WHERE c.id = held.command_id
), e AS (
  INSERT INTO order_events (order_id, event, status, actor, detail)
  SELECT order_id, :event, status, :worker, CAST(:detail AS jsonb) FROM held
)
SELECT status FROM held
""")

_RAISED = "(o.status = 'COMPLETE' AND c.quantity > o.filled_quantity)"
_LOWERED = "(o.status = 'PARTIALLY_FILLED' AND c.quantity <= o.filled_quantity)"


def _new_terms(guard: str) -> TextClause:
    return text(f"""
WITH held AS (
  SELECT o.id AS order_id, c.id AS command_id, c.quantity, c.order_type, c.price, c.trigger_price,
    CASE WHEN {_RAISED} THEN {case_by_status(OrderEvent.RAISED)}
      WHEN {_LOWERED} THEN {case_by_status(OrderEvent.LOWERED)}
      ELSE {case_by_status(OrderEvent.MODIFIED)} END AS status,
    CASE WHEN {_RAISED} THEN 'RAISED' WHEN {_LOWERED} THEN 'LOWERED' ELSE 'MODIFIED' END AS event
  FROM orders o JOIN order_commands c ON c.order_id = o.id
  WHERE c.id = :command_id AND c.kind = 'MODIFY' AND {guard} AND {is_legal(OrderEvent.MODIFIED)}
  FOR UPDATE OF o, c
), o AS (
  UPDATE orders o
  SET quantity = held.quantity, order_type = held.order_type, price = held.price,
    trigger_price = held.trigger_price, status = held.status,
    done_at = CASE WHEN held.status IN ({TERMINAL}) THEN coalesce(o.done_at, clock_timestamp()) END
  FROM held WHERE o.id = held.order_id
  RETURNING o.id
), c AS (
  UPDATE order_commands c SET state = 'DONE' FROM held WHERE c.id = held.command_id
), e AS (
  INSERT INTO order_events (order_id, event, status, actor, detail)
  SELECT order_id, event, status, :worker, CAST(:detail AS jsonb) || jsonb_strip_nulls(jsonb_build_object(
    'quantity', CAST(quantity AS text), 'order_type', order_type, 'price', CAST(price AS text),
    'trigger_price', CAST(trigger_price AS text))) FROM held
)
SELECT status FROM held
""")


_TERMS_TAKEN = _new_terms("c.attempt = :attempt AND c.state IN ('SUBMITTING', 'UNKNOWN')")
_TERMS_SEEN = _new_terms("c.state = 'UNKNOWN'")

_TERMS_ABSENT = text("""
WITH held AS (
  SELECT o.id AS order_id, o.status, c.id AS command_id
  FROM orders o JOIN order_commands c ON c.order_id = o.id
  WHERE c.id = :command_id AND c.kind = 'MODIFY' AND c.state = 'UNKNOWN'
  FOR UPDATE OF o, c
), c AS (
  UPDATE order_commands c SET state = 'DONE' FROM held WHERE c.id = held.command_id
), e AS (
  INSERT INTO order_events (order_id, event, status, actor) SELECT order_id, 'MODIFY_ABSENT', status, :worker FROM held
)
SELECT status FROM held
""")

# A claim dies by database time alone. Where the order socket has told the truth meanwhile, only the command ends.
# What another transaction holds is being recorded at this moment: it is looked at again at the next turn.
_BURY = text(f"""
WITH dead AS (
  SELECT c.id AS command_id, c.kind, o.id AS order_id, o.status, {CHANGE_IS_OVER} AS over
  FROM orders o JOIN order_commands c ON c.order_id = o.id
  WHERE c.state = 'SUBMITTING'
    AND c.send_by < clock_timestamp() - make_interval(secs => CAST(:margin_s AS double precision))
  ORDER BY c.send_by LIMIT :batch
  FOR UPDATE OF o, c SKIP LOCKED
), o AS (
  UPDATE orders o
  SET status = {case_by_status(OrderEvent.CLAIM_DIED)},
    status_reason = 'its worker went silent while sending: not known whether the broker has it'
  FROM dead
  WHERE o.id = dead.order_id AND dead.kind = 'PLACE' AND o.status IN ({legal_statuses(OrderEvent.CLAIM_DIED)})
  RETURNING o.id, o.status
), c AS (
  UPDATE order_commands c
  SET state = CASE WHEN dead.kind = 'PLACE' AND NOT EXISTS (SELECT 1 FROM o WHERE o.id = c.order_id) THEN 'DONE'
      WHEN dead.kind <> 'PLACE' AND dead.over THEN 'DONE' ELSE 'UNKNOWN' END,
    ring_after = {_BURIED_AGAIN}
  FROM dead WHERE c.id = dead.command_id
  RETURNING c.id
), e AS (
  INSERT INTO order_events (order_id, event, status, actor)
  SELECT o.id, 'CLAIM_DIED', o.status, :actor FROM o
  UNION ALL SELECT order_id, kind || '_UNKNOWN', status, :actor FROM dead WHERE kind <> 'PLACE'
)
SELECT (SELECT count(*) FROM o) AS unknown, (SELECT count(*) FROM c) AS buried
""")


class CommandRecords:
    """The part of the command repository that records how commands ended."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def record(self, claim: Claim, finding: Finding, *, worker: str) -> Recorded | None:
        """Record how a claim ended; None where the order has moved on so that this finding no longer fits."""
        if claim.kind is not CommandKind.PLACE:
            return await self._record_change(claim, finding, worker=worker)
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
            "detail": _detail(claim, finding),
        }
        row = (await self._connection.execute(_PLACEMENTS[finding.event], params)).first()
        return Recorded(OrderStatus(row.status), row.cancel_wanted) if row else None

    async def _record_change(self, claim: Claim, finding: Finding, *, worker: str) -> Recorded | None:
        params: dict[str, object] = {
            "command_id": claim.command_id,
            "attempt": claim.attempt,
            "worker": worker,
            "detail": _detail(claim, finding),
        }
        if finding.event is OrderEvent.MODIFIED:
            row = (await self._connection.execute(_TERMS_TAKEN, params)).first()
        else:
            params |= {
                "event": finding.event.value,
                "command_state": finding.command_state.value,
                "reason": finding.reason,
            }
            row = (await self._connection.execute(_NOTE, params)).first()
        return Recorded(OrderStatus(row.status)) if row else None

    async def confirm_modify(self, command_id: UUID, *, actor: str = "keeper") -> bool:
        """Give the order the terms of an UNKNOWN modify, which the broker's book shows; false where it is settled."""
        params = {"command_id": command_id, "worker": actor, "detail": json.dumps({"reason": "seen in the book"})}
        return (await self._connection.execute(_TERMS_SEEN, params)).first() is not None

    async def deny_modify(self, command_id: UUID, *, actor: str = "keeper") -> bool:
        """End an UNKNOWN modify that the broker's book proves absent; false where it is settled already."""
        params = {"command_id": command_id, "worker": actor}
        return (await self._connection.execute(_TERMS_ABSENT, params)).first() is not None

    async def bury_dead(self, *, margin_s: float, batch: int, actor: str) -> tuple[int, int]:
        """End claims that are past their `send_by`; returns how many orders became UNKNOWN, and all claims ended."""
        params = {"margin_s": margin_s, "batch": batch, "actor": actor}
        row = (await self._connection.execute(_BURY, params)).one()
        return row.unknown, row.buried


def _detail(claim: Claim, finding: Finding) -> str:
    known = {
        "attempt": str(claim.attempt),
        "reason": finding.reason,
        "broker_order_id": finding.broker_order_id,
    }
    return json.dumps({key: value for key, value in known.items() if value is not None})
