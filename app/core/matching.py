"""Matching over last prices: what trades when a price is printed. Pure and deterministic.

There is no order book of other people here: a printed price is taken as the price at which the market trades,
and the volume printed with it bounds how much of it could have been ours. The caller keeps the priority: orders
are matched in the order in which they are given.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from app.core.orders import OrderType, Side, Validity

PARTICIPATION_DIVISOR = 4
"""All our orders together take at most a quarter of a step's volume: more would have moved the real price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingOrder:
    """An order as far as matching cares. `remaining` in units, prices in rupees a unit."""

    order_id: str
    side: Side
    order_type: OrderType
    validity: Validity
    remaining: int
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    triggered: bool = False
    lot_size: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What one price did to one order: units traded at `price`, a trigger reached, a remainder cancelled."""

    order_id: str
    quantity: int
    price: Decimal
    triggered: bool
    cancelled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchResult:
    """Every order that changed, in priority order, and the units that are left to trade at this price."""

    matches: tuple[Match, ...]
    available: int | None


def participation(volume: int | None) -> int | None:
    """Return how many units of a step's volume our orders may take together; None means any number."""
    if volume is None:
        return None
    return max(1, volume // PARTICIPATION_DIVISOR) if volume > 0 else 0


def match(price: Decimal, available: int | None, orders: Sequence[WorkingOrder]) -> MatchResult:
    """Match orders, given in priority order, against one price with `available` units left to trade."""
    matches: list[Match] = []
    for order in orders:
        armed = arm(order, price)
        quantity = _tradable(armed, price, available)
        if available is not None:
            available -= quantity
        cancelled = order.validity is Validity.IOC and quantity < order.remaining
        triggered = armed.triggered and not order.triggered
        if quantity or cancelled or triggered:
            matches.append(
                Match(order_id=order.order_id, quantity=quantity, price=price, triggered=triggered, cancelled=cancelled)
            )
    return MatchResult(matches=tuple(matches), available=available)


def arm(order: WorkingOrder, price: Decimal) -> WorkingOrder:
    """Return the order with its trigger released if the price has reached it: upwards to buy, downwards to sell."""
    if order.trigger_price is None or order.triggered or not order.order_type.has_trigger:
        return order
    reached = price >= order.trigger_price if order.side is Side.BUY else price <= order.trigger_price
    return replace(order, triggered=True) if reached else order


def _tradable(order: WorkingOrder, price: Decimal, available: int | None) -> int:
    if order.order_type.has_trigger and not order.triggered:
        return 0
    if order.order_type.has_limit_price and not _within_limit(order, price):
        return 0
    if available is None or available >= order.remaining:
        return order.remaining
    return available // order.lot_size * order.lot_size


def _within_limit(order: WorkingOrder, price: Decimal) -> bool:
    if order.price is None:
        return False
    return price <= order.price if order.side is Side.BUY else price >= order.price
