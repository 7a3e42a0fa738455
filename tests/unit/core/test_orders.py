"""Small facts about orders that queues, adapters and lists rely on."""

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from app.core.bars import Bar
from app.core.errors import BrokerUnreadable, InvalidOrder, LoginRefused, OrderRefused, SaudaError, SessionDead
from app.core.instruments import Exchange, Instrument, InstrumentKind
from app.core.orders import Lane, Order, OrderIntent, OrderStatus, OrderType, Product, Side, Stages, Urgency
from app.core.ports import BrokerSession, Ring

NOON = datetime(2019, 1, 1, 6, 30, tzinfo=UTC)


def test_a_side_is_closed_by_its_opposite() -> None:
    assert [(side.sign, side.opposite) for side in Side] == [(1, Side.SELL), (-1, Side.BUY)]


@pytest.mark.parametrize(
    ("order_type", "limit", "trigger"),
    [
        (OrderType.MARKET, False, False),
        (OrderType.LIMIT, True, False),
        (OrderType.SL, True, True),
        (OrderType.SL_M, False, True),
    ],
)
def test_which_prices_an_order_type_carries(order_type: OrderType, *, limit: bool, trigger: bool) -> None:
    assert (order_type.has_limit_price, order_type.has_trigger) == (limit, trigger)


def test_the_more_urgent_order_goes_first_and_only_ordinary_ones_take_the_standard_lane() -> None:
    by_rank = sorted(Urgency, key=lambda urgency: urgency.band)
    assert by_rank == [Urgency.NORMAL, Urgency.HIGH, Urgency.CRITICAL, Urgency.STOP_LOSS]
    assert [urgency for urgency in Urgency if urgency.lane is Lane.STANDARD] == [Urgency.NORMAL]


def test_a_bell_hangs_in_the_lane_of_its_urgency() -> None:
    ring = Ring(
        command_id=UUID(int=1),
        account_id=UUID(int=2),
        urgency=Urgency.STOP_LOSS,
        exchange=Exchange.NSE,
        enqueued_at=NOON,
    )
    assert ring.lane is Lane.PRIORITY


def test_what_remains_of_an_order_is_what_has_not_traded() -> None:
    intent = OrderIntent(
        account_id=UUID(int=1),
        client_order_id="one",
        instrument_id=UUID(int=2),
        side=Side.BUY,
        quantity=100,
        order_type=OrderType.MARKET,
        product=Product.MIS,
    )
    order = Order(
        id=UUID(int=3),
        intent=intent,
        tag="SD",
        status=OrderStatus.PARTIALLY_FILLED,
        status_reason=None,
        broker_order_id="B1",
        filled_quantity=40,
        average_price=Decimal("182.05"),
        trading_day=date(2019, 1, 1),
        market_time=NOON,
        stages=Stages(received=NOON),
    )
    assert order.remaining_quantity == 60


def test_an_instrument_is_named_as_people_name_it() -> None:
    share = Instrument(
        id=UUID(int=7),
        exchange=Exchange.NSE,
        symbol="YESBANK",
        name="Yes Bank",
        kind=InstrumentKind.EQUITY,
        tick_size=Decimal("0.05"),
        lot_size=1,
    )
    assert share.key == "NSE:YESBANK"


@pytest.mark.parametrize(
    ("close", "path"),
    [
        ("104", ("101", "99", "105", "104")),  # rising: the low first
        ("100", ("101", "105", "99", "100")),  # falling: the high first
        ("101", ("101", "105", "99", "101")),  # unchanged: the high first
    ],
)
def test_a_bar_plays_its_four_prices_in_the_usual_order(close: str, path: tuple[str, ...]) -> None:
    bar = Bar(
        instrument_id=UUID(int=7),
        start=NOON,
        open=Decimal(101),
        high=Decimal(105),
        low=Decimal(99),
        close=Decimal(close),
        volume=10,
    )
    assert bar.prices() == tuple(Decimal(price) for price in path)


def test_a_session_never_shows_its_tokens() -> None:
    session = BrokerSession(
        client_code="A1", access_token="jwt-abc", refresh_token="ref-abc", feed_token="feed-abc", expires_at=NOON
    )
    assert "abc" not in repr(session)
    assert "abc" not in str(session)
    assert "A1" in repr(session)


def test_errors_say_what_callers_decide_on() -> None:
    refused = LoginRefused("wrong PIN", broker_code="AB1000", configuration=True)
    assert (refused.broker_code, refused.configuration, refused.code) == ("AB1000", True, "broker_login_refused")
    assert BrokerUnreadable("away", retry_after_s=2.5).retry_after_s == 2.5
    assert BrokerUnreadable("away").retry_after_s is None
    assert isinstance(SessionDead("over"), BrokerUnreadable)
    assert OrderRefused(code="paused", message="the account is paused").code == "paused"
    assert str(InvalidOrder(field="price", code="price_required", message="say a price")) == "say a price"
    assert all(issubclass(kind, SaudaError) for kind in (InvalidOrder, OrderRefused, BrokerUnreadable, LoginRefused))
