"""Reconciliations: our side of the comparison, its reports, and who asked for one."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import RowMapping, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.accounts import AccountMode
from app.core.balances import Opening, Totals, cash_of
from app.core.instruments import Exchange
from app.core.orders import Product
from app.core.reconciliations import (
    Holding,
    Line,
    OurBooks,
    ReconciliationCause,
    ReconciliationVerdict,
    Symbol,
)
from app.models import ReconciliationRow
from app.repositories.transition_sql import TERMINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """One report. Times are wall-clock UTC; `error` says why the broker could not be read."""

    id: UUID
    account_id: UUID
    cause: ReconciliationCause
    verdict: ReconciliationVerdict
    started_at: datetime
    finished_at: datetime
    counts: Mapping[str, int]
    differences: Sequence[Mapping[str, str]]
    error: str | None


class Request(NamedTuple):
    """Somebody wants an account compared."""

    account_id: UUID
    cause: ReconciliationCause


class OurMoment(NamedTuple):
    """Our books at one moment, all that the fills moved, and the day and time that the market and the database have."""

    books: OurBooks
    totals: Totals
    trading_day: date | None
    at: datetime


# A delivery line of an earlier day is a holding at a real broker, and no line of its positions any more.
_LINES = text("""
SELECT i.exchange, coalesce(s.trading_symbol, i.symbol) AS trading_symbol, p.product,
  sum(p.buy_quantity + p.sell_quantity) AS traded, sum(p.realized_pnl) AS realized_pnl,
  sum(p.open_cost) AS open_cost, sum(p.fees) AS fees,
  CASE WHEN :live AND p.product = 'CNC' THEN (
    SELECT coalesce(sum(CASE f.side WHEN 'BUY' THEN f.quantity ELSE -f.quantity END), 0) FROM fills f
    WHERE f.account_id = :account_id AND f.instrument_id = p.instrument_id AND f.product = 'CNC'
      AND f.trade_date >= :day
  ) ELSE sum(p.quantity) END AS line_quantity
FROM positions p JOIN instruments i ON i.id = p.instrument_id
LEFT JOIN broker_symbols s ON s.instrument_id = p.instrument_id AND s.broker = :broker
WHERE p.account_id = :account_id
GROUP BY i.exchange, coalesce(s.trading_symbol, i.symbol), p.product, p.instrument_id
""")
_MOVING = text("""
SELECT DISTINCT i.exchange, coalesce(s.trading_symbol, i.symbol) AS trading_symbol
FROM orders o JOIN instruments i ON i.id = o.instrument_id
LEFT JOIN broker_symbols s ON s.instrument_id = o.instrument_id AND s.broker = :broker
WHERE o.account_id = :account_id AND o.status IN ('SUBMITTING', 'UNKNOWN')
""")
_ACCOUNT = text("""
SELECT b.opening_cash, b.flow_before, m.trading_day, clock_timestamp() AS at
FROM broker_accounts a LEFT JOIN balances b ON b.account_id = a.id
LEFT JOIN market_clock m ON m.source = a.market_source
WHERE a.id = :account_id
""")
# Younger ones may not be in the book yet: a broker's book lags behind its own answers.
_OPEN_AT_BROKER = text("""
SELECT id, broker_order_id FROM orders
WHERE account_id = :account_id AND status IN ('PLACED', 'PARTIALLY_FILLED') AND broker_order_id IS NOT NULL
  AND trading_day = :day
  AND coalesce(acknowledged_at, saved_at) < clock_timestamp() - make_interval(secs => CAST(:age_s AS double precision))
""")
# What the day's end derived is over whatever a book of the day before says.
_OVER_HERE = text(f"""
SELECT o.id, o.status FROM orders o
WHERE o.account_id = :account_id AND o.broker_order_id = ANY(CAST(:broker_order_ids AS text[]))
  AND o.status IN ({TERMINAL})
  AND o.done_at < CAST(:at AS timestamptz) - make_interval(secs => CAST(:age_s AS double precision))
  AND NOT EXISTS (SELECT 1 FROM order_events e WHERE e.order_id = o.id AND e.event = 'DAY_ENDED')
ORDER BY o.id
""")
_KNOWN_TRADES = text("""
SELECT exchange, broker_order_id, trade_id FROM fills
WHERE account_id = :account_id AND trade_date >= CAST(:day AS date) - 1
""")
_ADD = text("""
INSERT INTO reconciliations (id, account_id, cause, verdict, started_at, finished_at, counts, differences, error)
VALUES (:id, :account_id, :cause, :verdict, :started_at, :finished_at, CAST(:counts AS jsonb),
  CAST(:differences AS jsonb), :error)
""")
_REQUEST = text("""
INSERT INTO reconciliation_requests (account_id, cause) VALUES (:account_id, :cause)
ON CONFLICT (account_id, cause) DO UPDATE SET requested_at = clock_timestamp()
""")
_REQUESTS = text("SELECT account_id, cause FROM reconciliation_requests ORDER BY requested_at")
_ANSWERED = text("""
DELETE FROM reconciliation_requests
WHERE account_id = :account_id AND cause = :cause AND requested_at <= :started_at
""")
_BOOK_READ = text("""
INSERT INTO book_reads (account_id, trading_day, read_at) VALUES (:account_id, :day, :read_at)
ON CONFLICT (account_id, trading_day) DO UPDATE SET read_at = excluded.read_at
""")


class ReconciliationRepository:
    """SQL of the reconciliations, reconciliation_requests and book_reads tables."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def our_books(self, account_id: UUID, *, broker: str, mode: AccountMode) -> OurMoment:
        """Return what our fills make of an account, in the symbols of its broker."""
        account = (await self._connection.execute(_ACCOUNT, {"account_id": account_id})).mappings().one()
        params = {"account_id": account_id, "broker": broker}
        moving = await self._connection.execute(_MOVING, params)
        symbols = frozenset(Symbol(Exchange(row.exchange), row.trading_symbol) for row in moving)
        day = account["trading_day"] or date.min
        wanted = {**params, "day": day, "live": mode is AccountMode.LIVE}
        lines = (await self._connection.execute(_LINES, wanted)).mappings().all()
        totals = Totals(
            realized_pnl=sum((row["realized_pnl"] for row in lines), Decimal(0)),
            open_cost=sum((row["open_cost"] for row in lines), Decimal(0)),
            fees=sum((row["fees"] for row in lines), Decimal(0)),
        )
        cash = None
        if account["opening_cash"] is not None:
            cash = cash_of(Opening(cash=account["opening_cash"], flow_before=account["flow_before"]), totals)
        books = OurBooks(holdings=dict(_holding(row) for row in lines), cash=cash, moving=symbols)
        return OurMoment(books, totals, account["trading_day"], account["at"])

    async def open_at_broker(self, account_id: UUID, *, day: date, age_s: float) -> dict[str, UUID]:
        """Return the orders of a trading day that have been open at the broker for so long, by the broker's id."""
        params = {"account_id": account_id, "day": day, "age_s": age_s}
        rows = await self._connection.execute(_OPEN_AT_BROKER, params)
        return {row.broker_order_id: row.id for row in rows}

    async def over_here(
        self, account_id: UUID, broker_order_ids: list[str], *, at: datetime, age_s: float
    ) -> list[tuple[UUID, str]]:
        """Return those of these orders that were over for so long at a moment, with their statuses."""
        params = {"account_id": account_id, "broker_order_ids": broker_order_ids, "at": at, "age_s": age_s}
        return [(row.id, row.status) for row in await self._connection.execute(_OVER_HERE, params)]

    async def known_trades(self, account_id: UUID, *, day: date) -> set[tuple[str, str, str]]:
        """Return (exchange, broker order id, trade id) of the fills that a trade book of a day may hold."""
        rows = await self._connection.execute(_KNOWN_TRADES, {"account_id": account_id, "day": day})
        return {(row.exchange, row.broker_order_id, row.trade_id) for row in rows}

    async def add(self, report: Reconciliation) -> None:
        """Store a report."""
        await self._connection.execute(
            _ADD,
            {
                "id": report.id,
                "account_id": report.account_id,
                "cause": report.cause.value,
                "verdict": report.verdict.value,
                "started_at": report.started_at,
                "finished_at": report.finished_at,
                "counts": json.dumps(dict(report.counts)),
                "differences": json.dumps([dict(one) for one in report.differences]),
                "error": report.error,
            },
        )

    async def page(self, *, account_id: UUID | None, before: UUID | None, limit: int) -> list[Reconciliation]:
        """Return reports, newest first."""
        query = select(ReconciliationRow.__table__).order_by(ReconciliationRow.id.desc()).limit(limit)
        if account_id is not None:
            query = query.where(ReconciliationRow.account_id == account_id)
        if before is not None:
            query = query.where(ReconciliationRow.id < before)
        return [_report(row) for row in (await self._connection.execute(query)).mappings()]

    async def request(self, account_id: UUID, cause: ReconciliationCause) -> None:
        """Ask the keeper for a report."""
        await self._connection.execute(_REQUEST, {"account_id": account_id, "cause": cause.value})

    async def requests(self) -> list[Request]:
        """Return what is asked for and not answered yet, oldest first."""
        rows = await self._connection.execute(_REQUESTS)
        return [Request(row.account_id, ReconciliationCause(row.cause)) for row in rows]

    async def answered(
        self, account_id: UUID, causes: Collection[ReconciliationCause], *, started_at: datetime
    ) -> None:
        """Forget requests that a comparison answered which started after they were made."""
        for cause in causes:
            params = {"account_id": account_id, "cause": cause.value, "started_at": started_at}
            await self._connection.execute(_ANSWERED, params)

    async def note_book_read(self, account_id: UUID, *, day: date, read_at: datetime) -> None:
        """Store that the account's whole order book of a trading day was read, by the database's time before it."""
        await self._connection.execute(_BOOK_READ, {"account_id": account_id, "day": day, "read_at": read_at})


def _holding(row: RowMapping) -> tuple[Line, Holding]:
    line = Line(Symbol(Exchange(row["exchange"]), row["trading_symbol"]), Product(row["product"]))
    return line, Holding(int(row["line_quantity"]), int(row["traded"]))


def _report(row: RowMapping) -> Reconciliation:
    values = {
        **row,
        "cause": ReconciliationCause(row["cause"]),
        "verdict": ReconciliationVerdict(row["verdict"]),
    }
    return Reconciliation(**values)
