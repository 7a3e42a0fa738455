"""Which orders are well-formed: a table of good ones, and one of bad ones with the refusal that each must get."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from app.core.errors import InvalidOrder
from app.core.instruments import Exchange, Instrument, InstrumentKind
from app.core.order_rules import DEADLINES_END, MAX_PRICE, MAX_QUANTITY, check_intent
from app.core.orders import OrderIntent, OrderType, Product, Side, Validity

SHARE = Instrument(
    id=UUID(int=7),
    exchange=Exchange.NSE,
    symbol="YESBANK",
    name="Yes Bank",
    kind=InstrumentKind.EQUITY,
    tick_size=Decimal("0.05"),
    lot_size=1,
)
FUTURE = replace(
    SHARE, exchange=Exchange.NFO, symbol="NIFTY19JANFUT", kind=InstrumentKind.FUTURE, lot_size=75, freeze_quantity=1800
)
BOND_ETF = replace(SHARE, kind=InstrumentKind.ETF, tick_size=Decimal("0.01"))
INDEX = replace(SHARE, symbol="NIFTY50", kind=InstrumentKind.INDEX)

PLAIN = OrderIntent(
    account_id=UUID(int=1),
    client_order_id="one",
    instrument_id=SHARE.id,
    side=Side.BUY,
    quantity=1,
    order_type=OrderType.MARKET,
    product=Product.MIS,
)


def order(
    order_type: OrderType = OrderType.MARKET,
    *,
    side: Side = Side.BUY,
    quantity: int = 1,
    price: str | None = None,
    trigger: str | None = None,
    product: Product = Product.MIS,
    validity: Validity = Validity.DAY,
) -> OrderIntent:
    return replace(
        PLAIN,
        order_type=order_type,
        side=side,
        quantity=quantity,
        price=None if price is None else Decimal(price),
        trigger_price=None if trigger is None else Decimal(trigger),
        product=product,
        validity=validity,
    )


MARKET, LIMIT, SL, SL_M = OrderType.MARKET, OrderType.LIMIT, OrderType.SL, OrderType.SL_M
SELL = Side.SELL
LONG_PRICE = "182.05000000000000000001"

GOOD = [
    ("market", order(), SHARE),
    ("market IOC", order(validity=Validity.IOC), SHARE),
    ("delivery", order(product=Product.CNC), SHARE),
    ("largest quantity", order(quantity=MAX_QUANTITY), SHARE),
    ("limit on the tick", order(LIMIT, price="182.05"), SHARE),
    ("limit on the tick, written long", order(LIMIT, price="182.05000000000000000000"), SHARE),
    ("limit on the tick, written short", order(LIMIT, price="1.8E+2"), SHARE),
    ("limit at the smallest tick", order(LIMIT, price="0.05"), SHARE),
    ("limit at the largest price", order(LIMIT, price=str(MAX_PRICE)), SHARE),
    ("limit on a finer tick", order(LIMIT, price="29.21"), BOND_ETF),
    ("limit IOC", order(LIMIT, price="182.05", validity=Validity.IOC), SHARE),
    ("buy stop, limit above its trigger", order(SL, price="183", trigger="182"), SHARE),
    ("buy stop, limit at its trigger", order(SL, price="182", trigger="182"), SHARE),
    ("sell stop, limit below its trigger", order(SL, side=SELL, price="181", trigger="182"), SHARE),
    ("sell stop, limit at its trigger", order(SL, side=SELL, price="182", trigger="182"), SHARE),
    ("stop market", order(SL_M, trigger="182"), SHARE),
    ("one lot", order(quantity=75), FUTURE),
    ("the freeze quantity itself", order(quantity=1800), FUTURE),
    ("carried derivative", order(quantity=75, product=Product.NRML), FUTURE),
    ("the last deadline", replace(PLAIN, deadline=DEADLINES_END - timedelta(seconds=1)), SHARE),
]

BAD = [
    ("an index", order(), INDEX, "instrument", "instrument_not_tradable"),
    ("nothing", order(quantity=0), SHARE, "quantity", "quantity_out_of_range"),
    ("less than nothing", order(quantity=-5), SHARE, "quantity", "quantity_out_of_range"),
    ("far too much", order(quantity=MAX_QUANTITY + 1), SHARE, "quantity", "quantity_out_of_range"),
    ("part of a lot", order(quantity=74), FUTURE, "quantity", "quantity_off_lot"),
    ("a lot and a bit", order(quantity=76), FUTURE, "quantity", "quantity_off_lot"),
    ("over the freeze quantity", order(quantity=1875), FUTURE, "quantity", "quantity_over_freeze"),
    ("carried shares", order(product=Product.NRML), SHARE, "product", "product_not_allowed"),
    ("delivered futures", order(quantity=75, product=Product.CNC), FUTURE, "product", "product_not_allowed"),
    ("limit without price", order(LIMIT), SHARE, "price", "price_required"),
    ("stop without price", order(SL, trigger="182"), SHARE, "price", "price_required"),
    ("stop without trigger", order(SL, price="182"), SHARE, "trigger_price", "trigger_price_required"),
    ("stop market without trigger", order(SL_M), SHARE, "trigger_price", "trigger_price_required"),
    ("market with price", order(price="182"), SHARE, "price", "price_not_allowed"),
    ("stop market with price", order(SL_M, price="182", trigger="182"), SHARE, "price", "price_not_allowed"),
    ("market with trigger", order(trigger="182"), SHARE, "trigger_price", "trigger_price_not_allowed"),
    ("limit with trigger", order(LIMIT, price="1", trigger="1"), SHARE, "trigger_price", "trigger_price_not_allowed"),
    ("price zero", order(LIMIT, price="0"), SHARE, "price", "price_out_of_range"),
    ("price minus zero", order(LIMIT, price="-0"), SHARE, "price", "price_out_of_range"),
    ("price below zero", order(LIMIT, price="-182.05"), SHARE, "price", "price_out_of_range"),
    ("price far too high", order(LIMIT, price="10000000.05"), SHARE, "price", "price_out_of_range"),
    ("price NaN", order(LIMIT, price="NaN"), SHARE, "price", "price_out_of_range"),
    ("price signalling NaN", order(LIMIT, price="sNaN"), SHARE, "price", "price_out_of_range"),
    ("price infinite", order(LIMIT, price="Infinity"), SHARE, "price", "price_out_of_range"),
    ("price minus infinite", order(LIMIT, price="-Infinity"), SHARE, "price", "price_out_of_range"),
    ("trigger NaN", order(SL_M, trigger="NaN"), SHARE, "trigger_price", "trigger_price_out_of_range"),
    ("trigger zero", order(SL_M, trigger="0"), SHARE, "trigger_price", "trigger_price_out_of_range"),
    ("price off the tick", order(LIMIT, price="182.03"), SHARE, "price", "price_off_tick"),
    ("price with 20 decimals", order(LIMIT, price=LONG_PRICE), SHARE, "price", "price_off_tick"),
    ("price with 60 decimals", order(LIMIT, price="182.05" + "0" * 57 + "1"), SHARE, "price", "price_off_tick"),
    ("price too small to see", order(LIMIT, price="1E-100000"), SHARE, "price", "price_off_tick"),
    ("price off a finer tick", order(LIMIT, price="29.215"), BOND_ETF, "price", "price_off_tick"),
    ("trigger off the tick", order(SL_M, trigger="182.01"), SHARE, "trigger_price", "trigger_price_off_tick"),
    (
        "buy stop, limit below its trigger",
        order(SL, price="181", trigger="182"),
        SHARE,
        "price",
        "price_beyond_trigger",
    ),
    (
        "sell stop, limit above its trigger",
        order(SL, side=SELL, price="183", trigger="182"),
        SHARE,
        "price",
        "price_beyond_trigger",
    ),
    (
        "stop IOC",
        order(SL, price="182", trigger="182", validity=Validity.IOC),
        SHARE,
        "validity",
        "validity_not_allowed",
    ),
    ("deadline too far", replace(PLAIN, deadline=DEADLINES_END), SHARE, "deadline", "deadline_out_of_range"),
    ("stop market IOC", order(SL_M, trigger="182", validity=Validity.IOC), SHARE, "validity", "validity_not_allowed"),
]


@pytest.mark.parametrize(("intent", "instrument"), [row[1:] for row in GOOD], ids=[row[0] for row in GOOD])
def test_a_well_formed_order_passes(intent: OrderIntent, instrument: Instrument) -> None:
    check_intent(intent, instrument)


@pytest.mark.parametrize(
    ("intent", "instrument", "field", "code"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_a_malformed_order_is_refused_with_its_field_and_code(
    intent: OrderIntent, instrument: Instrument, field: str, code: str
) -> None:
    with pytest.raises(InvalidOrder) as refusal:
        check_intent(intent, instrument)
    assert (refusal.value.field, refusal.value.code) == (field, code)
    assert str(refusal.value) == refusal.value.message != ""


def test_the_refusal_of_a_lot_names_the_lot() -> None:
    with pytest.raises(InvalidOrder, match="75"):
        check_intent(order(quantity=74), FUTURE)
