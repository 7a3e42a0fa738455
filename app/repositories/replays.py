"""Requested replays, and the figures that one ends with."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import RowMapping, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.replays import ReplayState
from app.models import ReplayRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """One replay of one day on one account. `speed` is a multiple of market speed; 0 is as fast as it goes."""

    id: UUID
    account_id: UUID
    source: str
    day: date
    speed: Decimal
    state: ReplayState
    bars_done: int
    bars_total: int
    error: str | None
    started_at: datetime | None
    finished_at: datetime | None


class Progress(NamedTuple):
    """How much of an account's business is recorded, and whether its replay is still wanted.

    `unsettled` orders still wait for, or are with, a worker. `slowest_step` is the market step that all strategies
    of the source have done, None where it has none.
    """

    running: bool
    slowest_step: int | None
    unsettled: int
    terminal_at_broker: int
    fills: int


class OrderFigures(NamedTuple):
    """Counts over an account's orders; `p50_ms` and `p99_ms` run from saved to acknowledged by the broker."""

    orders: int
    rejected: int
    unknown: int
    p50_ms: Decimal | None
    p99_ms: Decimal | None


_FIGURES = text("""
SELECT count(*) AS orders,
  count(*) FILTER (WHERE status = 'REJECTED') AS rejected,
  count(*) FILTER (WHERE status = 'UNKNOWN') AS unknown,
  percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM acknowledged_at - saved_at) * 1000) AS p50_ms,
  percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM acknowledged_at - saved_at) * 1000) AS p99_ms
FROM orders WHERE account_id = :account_id
""")
_PROGRESS_OF = text("""
SELECT (SELECT count(*) FROM fills WHERE account_id = :account_id) AS fills,
  (SELECT state = 'RUNNING' FROM replays WHERE source = :source) AS running,
  (SELECT min(step_done) FROM strategies WHERE source = :source AND enabled) AS slowest_step,
  count(*) FILTER (WHERE status IN ('COMPLETE', 'CANCELLED', 'REJECTED') AND broker_order_id IS NOT NULL)
    AS terminal_at_broker,
  count(*) FILTER (WHERE status IN ('PENDING', 'SUBMITTING')) AS unsettled
FROM orders WHERE account_id = :account_id
""")
_START = text("""
UPDATE replays SET state = 'RUNNING', started_at = coalesce(started_at, clock_timestamp()), bars_total = :bars_total
WHERE id = :id AND state IN ('REQUESTED', 'RUNNING')
""")
_PROGRESS = text("UPDATE replays SET bars_done = :bars_done WHERE id = :id")
_FINISH = text("""
UPDATE replays SET state = CAST(:state AS text), error = :error, finished_at = clock_timestamp()
WHERE id = :id AND state IN ('REQUESTED', 'RUNNING')
""")


class ReplayRepository:
    """SQL of the replays table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def request(self, replay: Replay) -> None:
        """Insert a request; the feed takes it up."""
        await self._connection.execute(
            insert(ReplayRow).values(
                id=replay.id,
                account_id=replay.account_id,
                source=replay.source,
                day=replay.day,
                speed=replay.speed,
                state=replay.state,
                bars_done=0,
                bars_total=0,
            )
        )

    async def get(self, replay_id: UUID) -> Replay | None:
        """Return one replay."""
        query = select(ReplayRow.__table__).where(ReplayRow.id == replay_id)
        row = (await self._connection.execute(query)).mappings().first()
        return _replay(row) if row else None

    async def open(self) -> list[Replay]:
        """Return the replays that are requested or running, oldest first."""
        query = (
            select(ReplayRow.__table__)
            .where(ReplayRow.state.in_([ReplayState.REQUESTED, ReplayState.RUNNING]))
            .order_by(ReplayRow.requested_at)
        )
        return [_replay(row) for row in (await self._connection.execute(query)).mappings()]

    async def start(self, replay_id: UUID, *, bars_total: int) -> None:
        """Store that the feed conducts this replay now."""
        await self._connection.execute(_START, {"id": replay_id, "bars_total": bars_total})

    async def progress(self, replay_id: UUID, *, bars_done: int) -> None:
        """Store how many bars are played."""
        await self._connection.execute(_PROGRESS, {"id": replay_id, "bars_done": bars_done})

    async def finish(self, replay_id: UUID, *, error: str | None) -> None:
        """Store the end of a replay: DONE, or FAILED with the reason."""
        state = ReplayState.FAILED if error else ReplayState.DONE
        await self._connection.execute(_FINISH, {"id": replay_id, "state": state.value, "error": error})

    async def figures(self, account_id: UUID) -> OrderFigures:
        """Return counts and latencies over an account's orders."""
        row = (await self._connection.execute(_FIGURES, {"account_id": account_id})).one()
        return OrderFigures(row.orders, row.rejected, row.unknown, _ms(row.p50_ms), _ms(row.p99_ms))

    async def progress_of(self, account_id: UUID, *, source: str) -> Progress:
        """Return how much of an account's business is recorded, and how far its source's strategies are."""
        row = (await self._connection.execute(_PROGRESS_OF, {"account_id": account_id, "source": source})).one()
        return Progress(bool(row.running), row.slowest_step, row.unsettled, row.terminal_at_broker, row.fills)


def _ms(value: object) -> Decimal | None:
    return None if value is None else Decimal(str(value)).quantize(Decimal("0.001"))


def _replay(row: RowMapping) -> Replay:
    return Replay(
        id=row["id"],
        account_id=row["account_id"],
        source=row["source"],
        day=row["day"],
        speed=row["speed"],
        state=ReplayState(row["state"]),
        bars_done=row["bars_done"],
        bars_total=row["bars_total"],
        error=row["error"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )
