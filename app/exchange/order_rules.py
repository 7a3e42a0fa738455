"""Why the market rejects an order that the wire could read: the texts that end up in the order book."""

from dataclasses import dataclass
from decimal import Decimal

from app.core.orders import OrderType, Product, Side, Validity
from app.exchange.settings import ExchangeInstrument

QUANTITY_MAX = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTerms:
    """What a client asks for, as read from the wire. Prices in rupees (0 when not given), quantity in units."""

    instrument: ExchangeInstrument
    variety: str
    order_type: OrderType
    product: Product
    validity: Validity
    side: Side
    quantity: int
    disclosed: int
    price: Decimal
    trigger_price: Decimal
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTerms:
    """What a modification sets. Quantity in units is the order's new total."""

    order_type: OrderType
    validity: Validity
    quantity: int
    price: Decimal
    trigger_price: Decimal


def why_rejected(
    *, instrument: ExchangeInstrument, order_type: OrderType, quantity: int, price: Decimal, trigger_price: Decimal
) -> str:
    """Return the text with which such an order is rejected, empty when it may trade."""
    if not instrument.tradable:
        return f"RMS: {instrument.trading_symbol} is an index and cannot be traded"
    if not 0 < quantity <= QUANTITY_MAX:
        return f"RMS: quantity {quantity} is not between 1 and {QUANTITY_MAX}"
    if quantity % instrument.lot_size:
        return f"RMS: quantity {quantity} is not a multiple of the lot size {instrument.lot_size}"
    if order_type.has_limit_price:
        text = _bad_price("price", price, instrument.tick_size)
        if text:
            return text
    if order_type.has_trigger:
        return _bad_price("trigger price", trigger_price, instrument.tick_size)
    return ""


def _bad_price(what: str, price: Decimal, tick_size: Decimal) -> str:
    if price <= 0:
        return f"RMS: {what} {price} must be positive"
    if price % tick_size:
        return f"RMS: {what} {price} is not a multiple of the tick size {tick_size}"
    return ""
