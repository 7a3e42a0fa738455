"""Market time, bars and replays."""

from datetime import date
from decimal import Decimal

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Numeric, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.replays import ReplayState
from app.models.base import Base, Id, Moment, Price, one_of


class MarketClockRow(Base):
    """The market time of one source, with the last prices at that step. Only the feed of that source writes it."""

    __tablename__ = "market_clock"
    source: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger)
    market_time: Mapped[Moment]
    trading_day: Mapped[date]
    ticks: Mapped[list[dict[str, str]]] = mapped_column(JSONB)
    updated_at: Mapped[Moment] = mapped_column(server_default=func.now())


class BarRow(Base):
    """One minute of one instrument in one source, stamped with its start."""

    __tablename__ = "bars"
    source: Mapped[str] = mapped_column(primary_key=True)
    instrument_id: Mapped[Id] = mapped_column(ForeignKey("instruments.id"), primary_key=True)
    start: Mapped[Moment] = mapped_column(primary_key=True)
    open: Mapped[Price]
    high: Mapped[Price]
    low: Mapped[Price]
    close: Mapped[Price]
    volume: Mapped[int] = mapped_column(BigInteger)
    __table_args__ = (
        CheckConstraint("low <= least(open, close) AND high >= greatest(open, close)", name="prices"),
        CheckConstraint("volume >= 0", name="volume"),
    )


class ReplayRow(Base):
    """A day to be replayed on an account of its own: requested by a person, conducted by the feed."""

    __tablename__ = "replays"
    id: Mapped[Id] = mapped_column(primary_key=True)
    account_id: Mapped[Id] = mapped_column(ForeignKey("broker_accounts.id"))
    source: Mapped[str] = mapped_column(unique=True)
    day: Mapped[date]
    speed: Mapped[Decimal] = mapped_column(Numeric(10, 3))
    state: Mapped[str]
    bars_done: Mapped[int]
    bars_total: Mapped[int]
    error: Mapped[str | None]
    requested_at: Mapped[Moment] = mapped_column(server_default=func.now())
    started_at: Mapped[Moment | None]
    finished_at: Mapped[Moment | None]
    __table_args__ = (
        one_of("state", ReplayState),
        CheckConstraint("speed >= 0", name="speed"),
        Index("ix_replays_open", "requested_at", postgresql_where="state IN ('REQUESTED', 'RUNNING')"),
    )
