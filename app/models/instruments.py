"""Instruments and their symbols at each broker."""

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.instruments import Exchange, InstrumentKind
from app.models.base import Base, Id, Price, one_of


class InstrumentRow(Base):
    """Something that has a price; all but indices can be traded."""

    __tablename__ = "instruments"
    id: Mapped[Id] = mapped_column(primary_key=True)
    exchange: Mapped[str]
    symbol: Mapped[str]
    name: Mapped[str]
    kind: Mapped[str]
    tick_size: Mapped[Price]
    lot_size: Mapped[int]
    freeze_quantity: Mapped[int | None]
    __table_args__ = (
        UniqueConstraint("exchange", "symbol"),
        one_of("exchange", Exchange),
        one_of("kind", InstrumentKind),
        CheckConstraint("tick_size > 0", name="tick_size"),
        CheckConstraint("lot_size > 0", name="lot_size"),
    )


class BrokerSymbolRow(Base):
    """The trading symbol and token of an instrument at one broker."""

    __tablename__ = "broker_symbols"
    broker: Mapped[str] = mapped_column(primary_key=True)
    instrument_id: Mapped[Id] = mapped_column(ForeignKey("instruments.id"), primary_key=True)
    trading_symbol: Mapped[str]
    token: Mapped[str]
