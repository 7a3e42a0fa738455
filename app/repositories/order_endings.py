"""Ends of orders that no broker tells: a deadline that passed unsent, and the end of the trading day."""

from datetime import date
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.transitions import OrderEvent
from app.repositories.transition_sql import case_by_status


class EndedDay(NamedTuple):
    """An account with orders of a day that is over. `before` is the first day that goes on.

    `replay_over`: the account's market was a replay that has ended, so that no closing books will come.
    """

    account_id: UUID
    account: str
    before: date
    replay_over: bool


class EndedOrder(NamedTuple):
    """An order that the day's end ended. `proven` is false where the day's closing book was never read."""

    order_id: UUID
    trading_day: date
    proven: bool


class UnsettledOrder(NamedTuple):
    """An order of an earlier day of which still nobody knows whether the broker has it."""

    order_id: UUID
    trading_day: date


class UnsnappedDay(NamedTuple):
    """An account's trading day that is over and of which no balance was stored."""

    account_id: UUID
    trading_day: date
    active: bool


# A command that a worker carries at this moment is waited for: its answer must find the order as it left it.
_DEADLINES = text(f"""
WITH due AS (
  SELECT o.id FROM broker_accounts a JOIN market_clock m ON m.source = a.market_source
  JOIN orders o ON o.account_id = a.id AND o.status = 'PENDING'
  WHERE o.deadline <= m.market_time
  LIMIT :batch FOR UPDATE OF o SKIP LOCKED
), o AS (
  UPDATE orders o
  SET status = {case_by_status(OrderEvent.DEADLINE_PASSED)}, status_reason = 'the deadline passed before it was sent',
    done_at = clock_timestamp()
  FROM due WHERE o.id = due.id RETURNING o.id, o.status
), c AS (
  UPDATE order_commands c SET state = 'DONE', reason = coalesce(c.reason, 'the deadline passed')
  FROM o WHERE c.order_id = o.id AND c.state <> 'DONE' RETURNING c.id
), alarms AS (
  UPDATE alerts SET closed_at = clock_timestamp() FROM c
  WHERE kind = 'COMMAND_PARKED' AND subject = CAST(c.id AS text) AND closed_at IS NULL
), e AS (
  INSERT INTO order_events (order_id, event, status, actor) SELECT o.id, 'DEADLINE_PASSED', o.status, 'keeper' FROM o
)
SELECT count(*) FROM o
""")

_IS_REPLAY_OVER = """EXISTS (
  SELECT 1 FROM replays r WHERE r.source = a.market_source AND r.state IN ('DONE', 'FAILED')
    AND r.finished_at < clock_timestamp() - make_interval(secs => CAST(:replay_rest_s AS double precision))
)"""
# A real broker's day is over only once it has shown the book of a new one; the paper exchange keeps our market's time.
_DAYS = text(f"""
SELECT * FROM (
  SELECT a.id, a.name, {_IS_REPLAY_OVER} AS replay_over, m.trading_day,
    a.mode = 'PAPER' OR EXISTS (
      SELECT 1 FROM book_reads b WHERE b.account_id = a.id AND b.trading_day >= m.trading_day
    ) AS new_day_is_read
  FROM broker_accounts a LEFT JOIN market_clock m ON m.source = a.market_source
) x
WHERE (x.replay_over OR (x.trading_day IS NOT NULL AND x.new_day_is_read))
  AND EXISTS (
    SELECT 1 FROM orders o
    WHERE o.account_id = x.id AND o.status IN ('PENDING', 'PLACED', 'PARTIALLY_FILLED', 'UNKNOWN')
      AND (x.replay_over OR o.trading_day < x.trading_day)
  )
ORDER BY x.name
""")
_END = text(f"""
WITH due AS (
  SELECT o.id, o.trading_day, o.status = 'PENDING' OR :replay_over OR EXISTS (
    SELECT 1 FROM book_reads b
    WHERE b.account_id = o.account_id AND b.trading_day = o.trading_day
      AND b.read_at > (SELECT max(e.at) FROM order_events e WHERE e.order_id = o.id)
  ) AS proven
  FROM orders o
  WHERE o.account_id = :account_id AND o.status IN ('PENDING', 'PLACED', 'PARTIALLY_FILLED')
    AND o.trading_day < :before
    AND NOT EXISTS (SELECT 1 FROM order_commands c WHERE c.order_id = o.id AND c.state = 'SUBMITTING')
  ORDER BY o.id LIMIT :batch FOR UPDATE OF o SKIP LOCKED
), o AS (
  UPDATE orders o
  SET status = {case_by_status(OrderEvent.DAY_ENDED)}, done_at = clock_timestamp(),
    status_reason = CASE WHEN due.proven THEN 'the trading day ended'
      ELSE 'the trading day ended, and its closing book was never read: what it traded last may be missing here' END
  FROM due WHERE o.id = due.id RETURNING o.id, o.status, due.trading_day, due.proven
), c AS (
  UPDATE order_commands c SET state = 'DONE', reason = coalesce(c.reason, 'the trading day ended')
  FROM o WHERE c.order_id = o.id AND c.state <> 'DONE' RETURNING c.id
), alarms AS (
  UPDATE alerts SET closed_at = clock_timestamp() FROM c
  WHERE kind = 'COMMAND_PARKED' AND subject = CAST(c.id AS text) AND closed_at IS NULL
), e AS (
  INSERT INTO order_events (order_id, event, status, actor, detail)
  SELECT o.id, 'DAY_ENDED', o.status, 'keeper', jsonb_build_object('trading_day', CAST(o.trading_day AS text)) FROM o
)
SELECT id, trading_day, proven FROM o ORDER BY id
""")
_UNSETTLED = text("""
SELECT o.id, o.trading_day FROM orders o
WHERE o.account_id = :account_id AND o.status = 'UNKNOWN' AND o.trading_day < :before
  AND NOT EXISTS (
    SELECT 1 FROM alerts a
    WHERE a.kind = 'ORDER_UNKNOWN' AND a.subject = CAST(o.id AS text) AND a.closed_at IS NULL
  )
ORDER BY o.id LIMIT :batch
""")
_UNSNAPPED = text(f"""
SELECT x.id, x.active, x.ended_day FROM (
  SELECT a.id, a.status = 'ACTIVE' AS active, (
    SELECT max(b.trading_day) FROM book_reads b
    WHERE b.account_id = a.id AND ({_IS_REPLAY_OVER} OR b.trading_day < m.trading_day)
  ) AS ended_day
  FROM broker_accounts a LEFT JOIN market_clock m ON m.source = a.market_source
) x
WHERE x.ended_day IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM balance_snapshots s WHERE s.account_id = x.id AND s.trading_day = x.ended_day
)
ORDER BY x.id LIMIT :batch
""")


class OrderEndingRepository:
    """SQL that ends orders without a broker, and finds the days that are over."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def pass_deadlines(self, *, batch: int) -> int:
        """End waiting orders, parked ones too, whose deadline has passed by their market's time; returns how many."""
        return int((await self._connection.execute(_DEADLINES, {"batch": batch})).scalar_one())

    async def ended_days(self, *, replay_rest_s: float) -> list[EndedDay]:
        """Return the accounts with orders left over from a day that is over, by name.

        A replay counts as over when it has rested for `replay_rest_s` seconds: its last answers are in by then.
        """
        rows = await self._connection.execute(_DAYS, {"replay_rest_s": replay_rest_s})
        return [
            EndedDay(row.id, row.name, date.max if row.replay_over else row.trading_day, row.replay_over)
            for row in rows
        ]

    async def end_day(self, day: EndedDay, *, batch: int) -> list[EndedOrder]:
        """End a batch of an account's orders of the days before; those being carried to the broker wait."""
        params = {
            "account_id": day.account_id,
            "before": day.before,
            "replay_over": day.replay_over,
            "batch": batch,
        }
        rows = await self._connection.execute(_END, params)
        return [EndedOrder(row.id, row.trading_day, row.proven) for row in rows]

    async def unsettled(self, day: EndedDay, *, batch: int) -> list[UnsettledOrder]:
        """Return UNKNOWN orders of the days before for which no alert is open."""
        params = {"account_id": day.account_id, "before": day.before, "batch": batch}
        rows = await self._connection.execute(_UNSETTLED, params)
        return [UnsettledOrder(row.id, row.trading_day) for row in rows]

    async def unsnapped_days(self, *, replay_rest_s: float, batch: int) -> list[UnsnappedDay]:
        """Return each account's last trading day that is over, where its balances are not stored yet."""
        rows = await self._connection.execute(_UNSNAPPED, {"replay_rest_s": replay_rest_s, "batch": batch})
        return [UnsnappedDay(row.id, row.ended_day, row.active) for row in rows]
