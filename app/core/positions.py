"""Positions by average cost: the pure fold of fills into quantity, average price and realised P&L.

Two facts make the result independent of the order in which fills arrive. The fold sorts by trade time and
trade id, so position, average and realised P&L are functions of the *set* of fills. And the realised figure is
always cash flow plus the open cost, so realised plus unrealised P&L is exact to the last digit although the
open cost is rounded when a position is partly closed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

from app.core.fills import Fill
from app.core.orders import Side

ZERO = Decimal(0)
COST_STEP = Decimal("0.000001")
"""Open cost is kept to a millionth of a rupee, the scale of the database column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A net position. `quantity` is signed; `open_cost` is signed rupees (negative for a short)."""

    quantity: int = 0
    open_cost: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    fees: Decimal = ZERO
    buy_quantity: int = 0
    sell_quantity: int = 0
    last_fill: tuple[datetime, str, str] | None = None

    @property
    def average_price(self) -> Decimal | None:
        """Rupees a unit of what is open; None when flat."""
        return self.open_cost / self.quantity if self.quantity else None

    def unrealized_pnl(self, mark: Decimal) -> Decimal:
        """P&L of the open quantity at a mark price, in rupees, before fees."""
        return mark * self.quantity - self.open_cost


def apply_fill(position: Position, fill: Fill) -> Position:
    """Return the position after one more fill, which must not be earlier than the last one applied."""
    signed = fill.side.sign * fill.quantity
    quantity = position.quantity + signed
    cash = -fill.side.sign * fill.turnover
    open_cost = _open_cost_after(position, fill, quantity)
    return Position(
        quantity=quantity,
        open_cost=open_cost,
        # What the cash flow and the change in open cost leave over is profit or loss.
        realized_pnl=position.realized_pnl + cash + open_cost - position.open_cost,
        fees=position.fees + fill.fees,
        buy_quantity=position.buy_quantity + (fill.quantity if fill.side is Side.BUY else 0),
        sell_quantity=position.sell_quantity + (fill.quantity if fill.side is Side.SELL else 0),
        last_fill=fill.sort_key,
    )


def _open_cost_after(position: Position, fill: Fill, quantity: int) -> Decimal:
    opening = position.quantity * fill.side.sign >= 0
    if opening:
        return position.open_cost + fill.side.sign * fill.turnover
    if quantity == 0:
        return ZERO
    flipped = quantity * fill.side.sign > 0
    if flipped:
        return fill.price * quantity
    part = position.open_cost * quantity / position.quantity
    return part.quantize(COST_STEP, rounding=ROUND_HALF_EVEN)


def fold(fills: Iterable[Fill]) -> Position:
    """Return the position that a set of fills makes, in whatever order they are given."""
    position = Position()
    for fill in sorted(fills, key=lambda f: f.sort_key):
        position = apply_fill(position, fill)
    return position


def is_late(position: Position, fill: Fill) -> bool:
    """Whether a fill belongs before one already applied, so that the position must be folded anew."""
    return position.last_fill is not None and fill.sort_key < position.last_fill
