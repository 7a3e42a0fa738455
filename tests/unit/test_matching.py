"""What one price does to one order, case by case, and who comes first when the volume is short."""

from dataclasses import replace
from decimal import Decimal

import pytest

from app.core.matching import WorkingOrder, match, participation
from app.core.orders import OrderType, Side, Validity

MARKET = WorkingOrder(order_id="1", side=Side.BUY, order_type=OrderType.MARKET, validity=Validity.DAY, remaining=10)
LIMIT = replace(MARKET, order_type=OrderType.LIMIT, price=Decimal(100))
STOP = replace(MARKET, order_type=OrderType.SL_M, trigger_price=Decimal(105))
STOP_LIMIT = replace(STOP, order_type=OrderType.SL, price=Decimal(106))


def sell(order: WorkingOrder) -> WorkingOrder:
    return replace(order, side=Side.SELL)


@pytest.mark.parametrize(
    ("order", "price", "traded", "triggered"),
    [
        (MARKET, "100", 10, False),
        (sell(MARKET), "100", 10, False),
        (LIMIT, "99.95", 10, False),
        (LIMIT, "100", 10, False),
        (LIMIT, "100.05", 0, False),
        (sell(LIMIT), "100.05", 10, False),
        (sell(LIMIT), "100", 10, False),
        (sell(LIMIT), "99.95", 0, False),
        (STOP, "104.95", 0, False),
        (STOP, "105", 10, True),
        (STOP, "107", 10, True),
        (sell(STOP), "105.05", 0, False),
        (sell(STOP), "105", 10, True),
        (STOP_LIMIT, "104.95", 0, False),
        (STOP_LIMIT, "105", 10, True),
        (STOP_LIMIT, "106.05", 0, True),
        (replace(STOP_LIMIT, triggered=True), "104", 10, False),
        (replace(STOP, triggered=True), "90", 10, False),
    ],
)
def test_a_price_trades_what_the_order_allows_at_that_price(
    *, order: WorkingOrder, price: str, traded: int, triggered: bool
) -> None:
    result = match(Decimal(price), None, [order])
    if not traded and not triggered:
        assert result.matches == ()
        return
    (matched,) = result.matches
    assert (matched.quantity, matched.triggered, matched.cancelled) == (traded, triggered, False)
    assert matched.price == Decimal(price)


@pytest.mark.parametrize(
    ("volume", "units"), [(None, None), (0, 0), (1, 1), (3, 1), (4, 1), (7, 1), (8, 2), (1000, 250)]
)
def test_our_orders_take_a_quarter_of_the_volume_but_at_least_one_unit_of_any(
    volume: int | None, units: int | None
) -> None:
    assert participation(volume) == units


def test_short_volume_goes_to_the_orders_in_the_order_in_which_they_are_given() -> None:
    first, second, third = (replace(MARKET, order_id=name) for name in "abc")
    result = match(Decimal(100), participation(60), [first, second, third])
    assert [(m.order_id, m.quantity) for m in result.matches] == [("a", 10), ("b", 5)]
    assert result.available == 0


def test_buyers_and_sellers_share_the_same_volume() -> None:
    result = match(Decimal(100), 12, [MARKET, replace(sell(MARKET), order_id="2")])
    assert [m.quantity for m in result.matches] == [10, 2]


def test_an_ioc_order_is_cancelled_for_what_does_not_trade_at_once() -> None:
    ioc = replace(LIMIT, validity=Validity.IOC)
    (partly,) = match(Decimal(100), 4, [ioc]).matches
    (not_at_all,) = match(Decimal(101), None, [ioc]).matches
    (wholly,) = match(Decimal(100), None, [ioc]).matches
    assert (partly.quantity, partly.cancelled) == (4, True)
    assert (not_at_all.quantity, not_at_all.cancelled) == (0, True)
    assert (wholly.quantity, wholly.cancelled) == (10, False)


def test_derivatives_trade_in_whole_lots_only() -> None:
    future = replace(MARKET, remaining=150, lot_size=75)
    assert [m.quantity for m in match(Decimal(100), 149, [future]).matches] == [75]
    assert match(Decimal(100), 74, [future]).matches == ()


def test_a_limit_order_without_a_price_never_trades() -> None:
    assert match(Decimal(100), None, [replace(LIMIT, price=None)]).matches == ()
