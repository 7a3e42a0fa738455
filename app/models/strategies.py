"""Strategies and what they decided."""

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.orders import Side
from app.core.signals import SignalKind
from app.models.base import Base, Id, Moment, one_of


class StrategyRow(Base):
    """A strategy that trades one instrument on one account, and how far in its source's steps it has come."""

    __tablename__ = "strategies"
    id: Mapped[Id] = mapped_column(primary_key=True)
    account_id: Mapped[Id] = mapped_column(ForeignKey("broker_accounts.id"))
    name: Mapped[str]
    kind: Mapped[str]
    parameters: Mapped[dict[str, str]] = mapped_column(JSONB)
    instrument_id: Mapped[Id] = mapped_column(ForeignKey("instruments.id"))
    source: Mapped[str]
    run: Mapped[str]
    enabled: Mapped[bool]
    step_done: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[Moment] = mapped_column(server_default=func.clock_timestamp())
    __table_args__ = (
        UniqueConstraint("account_id", "name"),
        Index("ix_strategies_source", "source", postgresql_where="enabled"),
    )


class SignalRow(Base):
    """One decision of a strategy with the numbers behind it."""

    __tablename__ = "signals"
    id: Mapped[Id] = mapped_column(primary_key=True)
    strategy_id: Mapped[Id] = mapped_column(ForeignKey("strategies.id"))
    instrument_id: Mapped[Id] = mapped_column(ForeignKey("instruments.id"))
    market_time: Mapped[Moment]
    kind: Mapped[str]
    side: Mapped[str]
    quantity: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str]
    trace: Mapped[dict[str, str]] = mapped_column(JSONB)
    client_order_id: Mapped[str]
    refusal: Mapped[str | None]
    created_at: Mapped[Moment] = mapped_column(server_default=func.clock_timestamp())
    __table_args__ = (
        UniqueConstraint("strategy_id", "client_order_id"),
        one_of("kind", SignalKind),
        one_of("side", Side),
        CheckConstraint("quantity > 0", name="quantity"),
    )
