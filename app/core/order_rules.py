"""What makes an order well-formed, whatever the market's hour: prices, ticks, lots, products."""

from datetime import UTC, datetime
from decimal import Decimal

from app.core.errors import InvalidOrder
from app.core.instruments import CASH_EXCHANGES, Instrument, InstrumentKind
from app.core.orders import OrderIntent, OrderType, Product, Validity

MAX_QUANTITY = 10_000_000
"""Far above any freeze quantity: a larger number is a slip of the keyboard."""
MAX_PRICE = Decimal(10_000_000)
DEADLINES_END = datetime(2200, 1, 1, tzinfo=UTC)
"""A deadline near the end of the calendar has no name in every time zone: it could be stored and not be shown."""


def check_intent(intent: OrderIntent, instrument: Instrument) -> None:
    """Raise `InvalidOrder` where the order can never be accepted for this instrument."""
    if instrument.kind is InstrumentKind.INDEX:
        raise InvalidOrder(
            field="instrument",
            code="instrument_not_tradable",
            message=f"{instrument.key} is an index: it has no orders",
        )
    _check_quantity(intent, instrument)
    _check_product(intent, instrument)
    _check_deadline(intent)
    _check_price(intent.price, wanted=intent.order_type.has_limit_price, field="price", intent=intent)
    _check_price(intent.trigger_price, wanted=intent.order_type.has_trigger, field="trigger_price", intent=intent)
    for field, price in (("price", intent.price), ("trigger_price", intent.trigger_price)):
        if price is not None:
            _check_tick(price, instrument=instrument, field=field)
    _check_stop_limit(intent)
    if intent.validity is Validity.IOC and intent.order_type.has_trigger:
        raise InvalidOrder(
            field="validity", code="validity_not_allowed", message="a stop order rests: its validity must be DAY"
        )


def _check_quantity(intent: OrderIntent, instrument: Instrument) -> None:
    if not 0 < intent.quantity <= MAX_QUANTITY:
        raise InvalidOrder(
            field="quantity", code="quantity_out_of_range", message=f"quantity must be 1 to {MAX_QUANTITY}"
        )
    if intent.quantity % instrument.lot_size:
        raise InvalidOrder(
            field="quantity",
            code="quantity_off_lot",
            message=f"quantity must be a multiple of the lot size {instrument.lot_size}",
        )
    freeze = instrument.freeze_quantity
    if freeze is not None and intent.quantity > freeze:
        raise InvalidOrder(
            field="quantity", code="quantity_over_freeze", message=f"quantity is over the freeze quantity {freeze}"
        )


def _check_product(intent: OrderIntent, instrument: Instrument) -> None:
    cash = instrument.exchange in CASH_EXCHANGES
    allowed = {Product.MIS, Product.CNC} if cash else {Product.MIS, Product.NRML}
    if intent.product not in allowed:
        names = " or ".join(sorted(allowed))
        raise InvalidOrder(
            field="product", code="product_not_allowed", message=f"on {instrument.exchange} the product must be {names}"
        )


def _check_deadline(intent: OrderIntent) -> None:
    if intent.deadline is not None and intent.deadline >= DEADLINES_END:
        raise InvalidOrder(
            field="deadline", code="deadline_out_of_range", message=f"deadline must be before {DEADLINES_END:%Y-%m-%d}"
        )


def _check_price(price: Decimal | None, *, wanted: bool, field: str, intent: OrderIntent) -> None:
    if wanted and price is None:
        raise InvalidOrder(field=field, code=f"{field}_required", message=f"a {intent.order_type} order needs {field}")
    if price is None:
        return
    if not wanted:
        raise InvalidOrder(
            field=field, code=f"{field}_not_allowed", message=f"a {intent.order_type} order takes no {field}"
        )
    if not price.is_finite() or not 0 < price <= MAX_PRICE:
        raise InvalidOrder(
            field=field, code=f"{field}_out_of_range", message=f"{field} must be above 0 and at most {MAX_PRICE}"
        )


def _check_tick(price: Decimal, *, instrument: Instrument, field: str) -> None:
    if price % instrument.tick_size:
        raise InvalidOrder(
            field=field,
            code=f"{field}_off_tick",
            message=f"{field} must be a multiple of the tick size {instrument.tick_size}",
        )


def _check_stop_limit(intent: OrderIntent) -> None:
    if intent.order_type is not OrderType.SL or intent.price is None or intent.trigger_price is None:
        return
    if (intent.trigger_price - intent.price) * intent.side.sign > 0:
        word = "at or above" if intent.side.sign > 0 else "at or below"
        raise InvalidOrder(
            field="price",
            code="price_beyond_trigger",
            message=f"the limit of a {intent.side} stop order must be {word} its trigger",
        )
