"""What a cancel or change means in every state of an order and of the changes that are under way."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.core.commands import CommandKind, CommandState, OrderTerms
from app.core.errors import InvalidOrder, OrderRefused
from app.core.instruments import Exchange, Instrument, InstrumentKind
from app.core.order_changes import CancelStep, Wanted, cancel_step, new_terms
from app.core.orders import (
    TERMINAL_STATUSES,
    Order,
    OrderIntent,
    OrderStatus,
    OrderType,
    Product,
    Purpose,
    Side,
    Stages,
    Validity,
)
from app.infra.ids import new_id

NOW = datetime(2019, 1, 1, 6, 30, tzinfo=UTC)
SHARE = Instrument(
    id=new_id(),
    exchange=Exchange.NSE,
    symbol="YESBANK",
    name="Yes Bank",
    kind=InstrumentKind.EQUITY,
    tick_size=Decimal("0.05"),
    lot_size=5,
)
INTENT = OrderIntent(
    account_id=new_id(),
    client_order_id="one",
    instrument_id=SHARE.id,
    side=Side.BUY,
    quantity=20,
    order_type=OrderType.LIMIT,
    product=Product.MIS,
    price=Decimal("182.50"),
)


def an_order(status: OrderStatus = OrderStatus.PLACED, *, filled: int = 0, **changes: Any) -> Order:  # noqa: ANN401
    return Order(
        id=new_id(),
        intent=replace(INTENT, **changes),
        tag="T",
        status=status,
        status_reason=None,
        broker_order_id="B1",
        filled_quantity=filled,
        average_price=None,
        trading_day=date(2019, 1, 1),
        market_time=NOW,
        stages=Stages(received=NOW),
    )


def changed(order: Order, wanted: Wanted, changes: dict[CommandKind, CommandState] | None = None) -> OrderTerms:
    return new_terms(order, wanted, instrument=SHARE, changes=changes or {})


IN_FLIGHT = {OrderStatus.SUBMITTING, OrderStatus.UNKNOWN}
RESTING = {OrderStatus.PLACED, OrderStatus.PARTIALLY_FILLED}


@pytest.mark.parametrize("status", OrderStatus)
def test_a_cancel_does_what_the_orders_status_asks_for(status: OrderStatus) -> None:
    expected = CancelStep.SEND
    if status in TERMINAL_STATUSES:
        expected = CancelStep.OVER
    elif status is OrderStatus.PENDING:
        expected = CancelStep.END_UNSENT
    elif status in IN_FLIGHT:
        expected = CancelStep.HOLD
    assert cancel_step(status, {}) is expected
    # What was sent and not answered may have raised the order: what was added is there to be cancelled.
    after_a_change = CancelStep.SEND if status is OrderStatus.COMPLETE else expected
    assert cancel_step(status, {CommandKind.MODIFY: CommandState.UNKNOWN}) is after_a_change
    assert cancel_step(status, {CommandKind.MODIFY: CommandState.PENDING}) is expected
    assert cancel_step(status, {CommandKind.CANCEL: CommandState.PARKED}) is expected


@pytest.mark.parametrize("state", [s for s in CommandState if s not in {CommandState.PARKED, CommandState.DONE}])
def test_a_second_cancel_joins_the_one_under_way(state: CommandState) -> None:
    for status in IN_FLIGHT | RESTING:
        assert cancel_step(status, {CommandKind.CANCEL: state}) is CancelStep.UNDER_WAY


def test_what_is_not_named_keeps_its_value() -> None:
    terms = changed(an_order(), Wanted(price=Decimal("182.40")))
    assert terms == OrderTerms(quantity=20, order_type=OrderType.LIMIT, price=Decimal("182.40"), trigger_price=None)
    assert changed(an_order(), Wanted(quantity=25)).price == Decimal("182.50")


def test_a_new_type_drops_the_prices_that_it_does_not_take() -> None:
    stop = an_order(order_type=OrderType.SL, trigger_price=Decimal("182.00"))
    assert changed(stop, Wanted(order_type=OrderType.MARKET)) == OrderTerms(
        quantity=20, order_type=OrderType.MARKET, price=None, trigger_price=None
    )
    assert changed(stop, Wanted(order_type=OrderType.SL_M)).trigger_price == Decimal("182.00")
    assert changed(stop, Wanted(order_type=OrderType.LIMIT)).price == Decimal("182.50")


INVALID: list[tuple[Wanted, str, str]] = [
    (Wanted(price=Decimal("182.51")), "price", "price_off_tick"),
    (Wanted(price=Decimal("-1.00")), "price", "price_out_of_range"),
    (Wanted(quantity=21), "quantity", "quantity_off_lot"),
    (Wanted(quantity=10_000_005), "quantity", "quantity_out_of_range"),
    (Wanted(quantity=10), "quantity", "quantity_not_above_filled"),
    (Wanted(quantity=5), "quantity", "quantity_not_above_filled"),
    (Wanted(trigger_price=Decimal("182.00")), "trigger_price", "trigger_price_not_allowed"),
    (Wanted(order_type=OrderType.SL), "trigger_price", "trigger_price_required"),
    (Wanted(order_type=OrderType.MARKET, price=Decimal("182.00")), "price", "price_not_allowed"),
    (
        Wanted(order_type=OrderType.SL, price=Decimal("182.00"), trigger_price=Decimal("182.50")),
        "price",
        "price_beyond_trigger",
    ),
    (Wanted(quantity=20), "body", "nothing_to_change"),
    (Wanted(quantity=20, price=Decimal("182.5"), order_type=OrderType.LIMIT), "body", "nothing_to_change"),
]


@pytest.mark.parametrize(("wanted", "field", "code"), INVALID)
def test_terms_that_can_never_be_right_name_the_field(wanted: Wanted, field: str, code: str) -> None:
    with pytest.raises(InvalidOrder) as refusal:
        changed(an_order(OrderStatus.PARTIALLY_FILLED, filled=10), wanted)
    assert (refusal.value.field, refusal.value.code) == (field, code)


@pytest.mark.parametrize("status", OrderStatus)
def test_only_a_waiting_or_resting_order_can_be_changed(status: OrderStatus) -> None:
    if status in RESTING | {OrderStatus.PENDING}:
        assert changed(an_order(status), Wanted(quantity=25)).quantity == 25
        return
    with pytest.raises(OrderRefused) as refusal:
        changed(an_order(status), Wanted(quantity=25))
    assert refusal.value.code == ("order_over" if status in TERMINAL_STATUSES else "order_in_flight")


@pytest.mark.parametrize("kind", [CommandKind.MODIFY, CommandKind.CANCEL])
@pytest.mark.parametrize("state", [s for s in CommandState if s is not CommandState.DONE])
def test_one_change_at_a_time(kind: CommandKind, state: CommandState) -> None:
    with pytest.raises(OrderRefused) as refusal:
        changed(an_order(), Wanted(quantity=25), {kind: state})
    assert refusal.value.code == "change_in_flight"
    assert kind.lower() in refusal.value.message


def test_an_exit_may_shrink_and_not_grow() -> None:
    assert changed(an_order(purpose=Purpose.EXIT), Wanted(quantity=15)).quantity == 15
    with pytest.raises(OrderRefused) as refusal:
        changed(an_order(purpose=Purpose.EXIT), Wanted(quantity=25))
    assert refusal.value.code == "exit_cannot_grow"


def test_validity_still_fits_the_new_type() -> None:
    with pytest.raises(InvalidOrder) as refusal:
        changed(an_order(validity=Validity.IOC), Wanted(order_type=OrderType.SL_M, trigger_price=Decimal("182.00")))
    assert refusal.value.code == "validity_not_allowed"
