"""Fills, and the positions that they make."""

from datetime import date

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from app.core.instruments import Exchange
from app.core.orders import Product, Side
from app.models.base import Base, Id, Moment, Money, Price, one_of


class FillRow(Base):
    """One trade of one of our orders, counted once by the broker's own numbers."""

    __tablename__ = "fills"
    id: Mapped[Id] = mapped_column(primary_key=True)
    account_id: Mapped[Id] = mapped_column(ForeignKey("broker_accounts.id"))
    exchange: Mapped[str]
    trade_date: Mapped[date]
    broker_order_id: Mapped[str]
    trade_id: Mapped[str]
    order_id: Mapped[Id] = mapped_column(ForeignKey("orders.id"))
    strategy_id: Mapped[Id | None] = mapped_column(ForeignKey("strategies.id"))
    instrument_id: Mapped[Id] = mapped_column(ForeignKey("instruments.id"))
    product: Mapped[str]
    side: Mapped[str]
    quantity: Mapped[int] = mapped_column(BigInteger)
    price: Mapped[Price]
    fees: Mapped[Money]
    traded_at: Mapped[Moment]
    recorded_at: Mapped[Moment] = mapped_column(server_default=func.clock_timestamp())
    __table_args__ = (
        UniqueConstraint("account_id", "exchange", "trade_date", "broker_order_id", "trade_id"),
        one_of("exchange", Exchange),
        one_of("side", Side),
        one_of("product", Product),
        CheckConstraint("quantity > 0", name="quantity"),
        CheckConstraint("price > 0", name="price"),
        Index("ix_fills_order", "order_id"),
        Index("ix_fills_account_newest", "account_id", "id"),
        # A late fill makes the position be folded anew from these.
        Index("ix_fills_position", "account_id", "instrument_id", "product", "strategy_id"),
    )


class PositionRow(Base):
    """What one strategy (or, without one, the account's people) holds of an instrument in a product."""

    __tablename__ = "positions"
    id: Mapped[Id] = mapped_column(primary_key=True)
    account_id: Mapped[Id] = mapped_column(ForeignKey("broker_accounts.id"))
    strategy_id: Mapped[Id | None] = mapped_column(ForeignKey("strategies.id"))
    instrument_id: Mapped[Id] = mapped_column(ForeignKey("instruments.id"))
    product: Mapped[str]
    quantity: Mapped[int] = mapped_column(BigInteger)
    open_cost: Mapped[Money]
    realized_pnl: Mapped[Money]
    fees: Mapped[Money]
    buy_quantity: Mapped[int] = mapped_column(BigInteger)
    sell_quantity: Mapped[int] = mapped_column(BigInteger)
    last_fill_at: Mapped[Moment | None]
    last_fill_order: Mapped[str | None]
    last_fill_trade: Mapped[str | None]
    updated_at: Mapped[Moment] = mapped_column(server_default=func.clock_timestamp())
    __table_args__ = (
        UniqueConstraint("account_id", "strategy_id", "instrument_id", "product", postgresql_nulls_not_distinct=True),
        one_of("product", Product),
        CheckConstraint("quantity = buy_quantity - sell_quantity", name="quantity"),
        CheckConstraint("quantity <> 0 OR open_cost = 0", name="flat_has_no_cost"),
    )
