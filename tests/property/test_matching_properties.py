"""Matching keeps its promises for any orders and prices."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from app.core.matching import WorkingOrder, match, participation
from app.core.orders import OrderType, Side, Validity

prices = st.integers(min_value=1, max_value=400).map(lambda n: Decimal(n) * Decimal("0.05"))
volumes = st.none() | st.integers(min_value=0, max_value=2000)


@st.composite
def orders(draw: st.DrawFn) -> WorkingOrder:
    order_type = draw(st.sampled_from(OrderType))
    lot_size = draw(st.sampled_from([1, 1, 25]))
    return WorkingOrder(
        order_id="",
        side=draw(st.sampled_from(Side)),
        order_type=order_type,
        validity=draw(st.sampled_from(Validity)),
        remaining=draw(st.integers(min_value=1, max_value=40)) * lot_size,
        price=draw(prices) if order_type.has_limit_price else None,
        trigger_price=draw(prices) if order_type.has_trigger else None,
        triggered=order_type.has_trigger and draw(st.booleans()),
        lot_size=lot_size,
    )


@st.composite
def queues(draw: st.DrawFn) -> list[WorkingOrder]:
    drawn = draw(st.lists(orders(), max_size=8))
    fields = ("side", "order_type", "validity", "remaining", "price", "trigger_price", "triggered", "lot_size")
    return [WorkingOrder(order_id=str(n), **{f: getattr(o, f) for f in fields}) for n, o in enumerate(drawn)]


@given(queues(), prices, volumes)
def test_together_the_orders_never_take_more_than_their_part_of_the_volume(
    queue: list[WorkingOrder], price: Decimal, volume: int | None
) -> None:
    available = participation(volume)
    result = match(price, available, queue)
    taken = sum(m.quantity for m in result.matches)
    if available is None or volume is None:
        assert result.available is None
    else:
        assert taken + (result.available or 0) == available
        assert taken <= max(1, volume // 4)


@given(queues(), prices, volumes)
def test_no_order_trades_more_than_it_wants_or_worse_than_its_limit_or_before_its_trigger(
    queue: list[WorkingOrder], price: Decimal, volume: int | None
) -> None:
    by_id = {order.order_id: order for order in queue}
    for matched in match(price, participation(volume), queue).matches:
        order = by_id[matched.order_id]
        sign = order.side.sign
        assert 0 <= matched.quantity <= order.remaining
        assert matched.quantity % order.lot_size == 0
        assert matched.price == price
        if matched.quantity and order.price is not None:
            assert sign * price <= sign * order.price
        if matched.quantity and order.trigger_price is not None and not order.triggered:
            assert matched.triggered
            assert sign * price >= sign * order.trigger_price


@given(queues(), prices, volumes)
def test_the_same_orders_and_price_always_give_the_same_trades(
    queue: list[WorkingOrder], price: Decimal, volume: int | None
) -> None:
    assert match(price, participation(volume), queue) == match(price, participation(volume), queue)


@given(queues(), prices, st.integers(min_value=0, max_value=2000))
def test_an_order_that_comes_later_takes_nothing_from_those_before_it(
    queue: list[WorkingOrder], price: Decimal, volume: int
) -> None:
    available = participation(volume)
    whole = match(price, available, queue).matches
    without_last = match(price, available, queue[:-1]).matches
    last = queue[-1].order_id if queue else ""
    assert tuple(m for m in whole if m.order_id != last) == without_last


@given(queues(), prices, volumes)
def test_only_ioc_orders_are_cancelled_and_only_for_a_remainder(
    queue: list[WorkingOrder], price: Decimal, volume: int | None
) -> None:
    by_id = {order.order_id: order for order in queue}
    for matched in match(price, participation(volume), queue).matches:
        order = by_id[matched.order_id]
        left = matched.quantity < order.remaining
        assert matched.cancelled is (order.validity is Validity.IOC and left)
