"""Attribution under any book: its own row always fits, silence never excludes, and nothing is adopted twice."""

from dataclasses import replace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.core.attribution import Claimant, adoptable, could_be
from app.core.instruments import Exchange
from app.core.orders import OrderType, Product, Side
from app.core.ports import BrokerOrder
from tests.unit.core.test_attribution import ORDER, ROW

PRICES = st.sampled_from([ORDER.price, None])
UNSAID = ("token", "order_type", "product", "price", "trigger_price", "updated_at")


@st.composite
def claimants(draw: st.DrawFn, number: int) -> Claimant:
    order_type = draw(st.sampled_from(OrderType))
    return replace(
        ORDER,
        order_id=UUID(int=number),
        side=draw(st.sampled_from(Side)),
        quantity=draw(st.integers(1, 2)),
        order_type=order_type,
        product=draw(st.sampled_from(Product)),
        exchange=draw(st.sampled_from([Exchange.NSE, Exchange.BSE])),
        price=ORDER.price if order_type.has_limit_price else None,
        trigger_price=ORDER.price if order_type.has_trigger else None,
        is_unknown=draw(st.booleans()),
    )


def row_of(order: Claimant, broker_order_id: str) -> BrokerOrder:
    return replace(
        ROW,
        broker_order_id=broker_order_id,
        side=order.side,
        quantity=order.quantity,
        order_type=order.order_type,
        product=order.product,
        exchange=order.exchange,
        price=order.price,
        trigger_price=order.trigger_price,
    )


ORDERS = st.integers(0, 5).flatmap(lambda count: st.tuples(*(claimants(number) for number in range(count))))


@given(order=claimants(1), unsaid=st.sets(st.sampled_from(UNSAID)))
def test_the_own_row_always_fits_whatever_it_leaves_out(order: Claimant, unsaid: set[str]) -> None:
    row = row_of(order, "B1")
    silent = replace(row, **dict.fromkeys(unsaid))  # type: ignore[arg-type]
    assert could_be(order, row)
    assert could_be(order, silent)


@given(orders=ORDERS, reached=st.sets(st.integers(0, 4)), by_hand=ORDERS)
def test_no_row_and_no_order_is_adopted_twice_and_only_by_what_fits_alone(
    orders: tuple[Claimant, ...], reached: set[int], by_hand: tuple[Claimant, ...]
) -> None:
    rows = [row_of(order, f"B{n}") for n, order in enumerate(orders) if n in reached]
    rows += [row_of(order, f"M{n}") for n, order in enumerate(by_hand)]
    pairs = adoptable(orders, rows, proven_tagless=frozenset(row.broker_order_id for row in rows))
    assert len({order.order_id for order, _ in pairs}) == len({row.broker_order_id for _, row in pairs}) == len(pairs)
    for order, row in pairs:
        assert order.is_unknown
        assert [other for other in orders if could_be(other, row)] == [order]
        assert [other for other in rows if could_be(order, other)] == [row]
