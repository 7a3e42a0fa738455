"""Market time and bars."""

from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import RowMapping, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.bars import Bar, Tick
from app.models import BarRow, MarketClockRow


class MarketStep(NamedTuple):
    """The newest step of a source: its number, market time and the prices that it brought."""

    source: str
    step: int
    market_time: datetime
    trading_day: date
    ticks: list[Tick]


_SET_CLOCK = text("""
INSERT INTO market_clock AS m (source, step, market_time, trading_day, ticks)
VALUES (:source, :step, :market_time, :trading_day, CAST(:ticks AS jsonb))
ON CONFLICT (source) DO UPDATE SET step = excluded.step, market_time = excluded.market_time,
  trading_day = excluded.trading_day, ticks = excluded.ticks, updated_at = clock_timestamp()
WHERE m.step < excluded.step
""")
_TRADING_DAY = text("SELECT trading_day FROM market_clock WHERE source = :source")
_ADD_BAR = text("""
INSERT INTO bars (source, instrument_id, start, open, high, low, close, volume)
VALUES (:source, :instrument_id, :start, :open, :high, :low, :close, :volume)
ON CONFLICT (source, instrument_id, start) DO NOTHING
""")


class MarketRepository:
    """SQL of the market_clock and bars tables."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def set_clock(self, step: MarketStep, ticks_json: str) -> None:
        """Move a source's clock on; a step that is not newer changes nothing."""
        await self._connection.execute(
            _SET_CLOCK,
            {
                "source": step.source,
                "step": step.step,
                "market_time": step.market_time,
                "trading_day": step.trading_day,
                "ticks": ticks_json,
            },
        )

    async def clock(self, source: str) -> MarketStep | None:
        """Return the newest step of a source."""
        query = select(MarketClockRow.__table__).where(MarketClockRow.source == source)
        row = (await self._connection.execute(query)).mappings().first()
        return _step(row) if row else None

    async def add_bars(self, source: str, bars: list[Bar]) -> None:
        """Store bars; one that is there already stays as it is."""
        await self._connection.execute(
            _ADD_BAR,
            [
                {
                    "source": source,
                    "instrument_id": bar.instrument_id,
                    "start": bar.start,
                    "open": bar.open,
                    "high": bar.high,
                    "low": bar.low,
                    "close": bar.close,
                    "volume": bar.volume,
                }
                for bar in bars
            ],
        )

    async def trading_day(self, source: str) -> date | None:
        """Return the day of a source's newest step."""
        return (await self._connection.execute(_TRADING_DAY, {"source": source})).scalar_one_or_none()

    async def count_bars(self, source: str) -> int:
        """Return how many bars a source has."""
        query = select(func.count()).select_from(BarRow).where(BarRow.source == source)
        return (await self._connection.execute(query)).scalar_one()

    async def bars(self, source: str, *, instrument_ids: list[UUID], after: datetime | None) -> list[Bar]:
        """Return a source's bars of some instruments, oldest first, that start after a moment."""
        query = (
            select(BarRow.__table__)
            .where(BarRow.source == source, BarRow.instrument_id.in_(instrument_ids))
            .order_by(BarRow.start)
        )
        if after is not None:
            query = query.where(BarRow.start > after)
        return [
            Bar(
                instrument_id=row["instrument_id"],
                start=row["start"],
                open=row["open"],
                high=row["high"],
                low=row["low"],
                close=row["close"],
                volume=row["volume"],
            )
            for row in (await self._connection.execute(query)).mappings()
        ]


def _step(row: RowMapping) -> MarketStep:
    ticks = [
        Tick(
            instrument_id=UUID(tick["instrument_id"]),
            at=row["market_time"],
            price=Decimal(tick["price"]),
            volume=int(tick["volume"]),
        )
        for tick in row["ticks"]
    ]
    return MarketStep(row["source"], row["step"], row["market_time"], row["trading_day"], ticks)
