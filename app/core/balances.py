"""Cash and profit of an account from its own fills. All figures in rupees."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

PRICE_MAX_AGE = timedelta(minutes=5)
"""A last price that the market's own clock has left behind by more than this says nothing about the present."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over positions: what was earned, what is tied up (negative for shorts), what was paid in charges."""

    realized_pnl: Decimal = Decimal(0)
    open_cost: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)

    @property
    def flow(self) -> Decimal:
        """What the fills moved in cash, to the last digit: realised P&L is always cash flow plus open cost."""
        return self.realized_pnl - self.open_cost - self.fees

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            realized_pnl=self.realized_pnl + other.realized_pnl,
            open_cost=self.open_cost + other.open_cost,
            fees=self.fees + other.fees,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a ledger began with. `flow_before` is the flow that was in the fills already, and so in the opening cash."""

    cash: Decimal
    flow_before: Decimal


def cash_of(opening: Opening, totals: Totals) -> Decimal:
    """Return the cash that an account has after all its fills."""
    return opening.cash + totals.flow - opening.flow_before


class PriceDoubt(StrEnum):
    """Why what is open cannot be valued."""

    MISSING = "price_missing"
    STALE = "price_stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class LastPrice:
    """The last price of an instrument, and the market's time then."""

    price: Decimal
    at: datetime


def usable_price(last: LastPrice | None, *, market_time: datetime | None) -> Decimal | PriceDoubt:
    """Return the price to value at, or why there is none. A market without a time makes every price stale."""
    if last is None:
        return PriceDoubt.MISSING
    if market_time is None or market_time - last.at > PRICE_MAX_AGE:
        return PriceDoubt.STALE
    return last.price


def unrealized_pnl(*, quantity: int, open_cost: Decimal, price: Decimal | PriceDoubt) -> Decimal | PriceDoubt:
    """Return the P&L of what is open, before fees; nothing open needs no price."""
    if quantity == 0:
        return Decimal(0)
    if isinstance(price, PriceDoubt):
        return price
    return price * quantity - open_cost


def summed(values: "list[Decimal | PriceDoubt]") -> Decimal | PriceDoubt:
    """Return the sum, or the first doubt: a sum without one of its parts would be a wrong figure."""
    total = Decimal(0)
    for value in values:
        if isinstance(value, PriceDoubt):
            return value
        total += value
    return total
