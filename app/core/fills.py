"""Fills: what actually traded."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from app.core.instruments import Exchange
from app.core.orders import Side


@dataclass(frozen=True, slots=True, kw_only=True)
class FillKey:
    """What makes a trade unique: brokers number trades per segment and day, and reuse the numbers."""

    account_id: UUID
    exchange: Exchange
    trade_date: date
    broker_order_id: str
    trade_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One trade of one order. `price` in rupees a unit, `traded_at` in UTC by the exchange's clock."""

    key: FillKey
    side: Side
    quantity: int
    price: Decimal
    traded_at: datetime
    fees: Decimal = Decimal(0)

    @property
    def sort_key(self) -> tuple[datetime, str, str]:
        """The one order in which fills are folded into a position, whatever order they arrive in."""
        return (self.traded_at, self.key.broker_order_id, self.key.trade_id.rjust(24, "0"))

    @property
    def turnover(self) -> Decimal:
        """Traded value in rupees."""
        return self.price * self.quantity
