"""What the rows of the broker's books mean, and that no odd row is passed over."""

import copy
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from httpx import Headers

from app.brokers.angelone import books, market, sessions, stream
from app.brokers.angelone.envelope import data_of
from app.brokers.angelone.values import Malformed, load_json
from app.brokers.http import Reply
from app.core.errors import BrokerUnreadable, SessionDead
from app.core.instruments import Exchange
from app.core.orders import OrderType, Product, Side, Validity
from app.core.ports import BrokerOrder, BrokerOrderState, BrokerPosition, BrokerTrade, Funds
from tests.harness.broker_server import golden, golden_body

TRADE_DAY = date(2026, 9, 21)


def data(name: str) -> object:
    return data_of(Reply(status=200, headers=Headers(), body=golden_body(name)))


def row(name: str, **changes: object) -> object:
    rows = data(name)
    assert isinstance(rows, list)
    return [*rows[1:], rows[0] | changes]


def test_an_order_book_row_is_read_with_its_progress() -> None:
    first, second = books.parse_orders(data("order_book"))
    assert first == BrokerOrder(
        broker_order_id="260921000000010",
        broker_unique_id="34reqfachdfih",
        tag=None,
        exchange=Exchange.NSE,
        trading_symbol="SBIN-EQ",
        side=Side.BUY,
        quantity=10,
        filled_quantity=4,
        average_price=Decimal("194.35"),
        state=BrokerOrderState.WORKING,
        raw_status="open",
        text="",
        token="3045",
        order_type=OrderType.LIMIT,
        product=Product.MIS,
        validity=Validity.DAY,
        price=Decimal("194.50"),
        trigger_price=None,
        updated_at=datetime(2026, 9, 21, 4, 45, 30, tzinfo=UTC),
    )
    assert (second.order_type, second.price, second.trigger_price) == (OrderType.SL, Decimal(190), Decimal("190.5"))
    assert second.raw_status == "trigger pending", "orderstatus goes before status"
    assert second.tag == "SDAAAAAAAAAAAAAAAA"
    assert second.average_price == 0


def test_a_trade_row_gets_the_day_it_was_asked_with_and_utc() -> None:
    assert books.TradeBook().parse(data("trade_book"), TRADE_DAY) == [
        BrokerTrade(
            broker_order_id="260921000000010",
            trade_id="50005750",
            exchange=Exchange.NSE,
            trading_symbol="SBIN-EQ",
            side=Side.BUY,
            quantity=4,
            price=Decimal("194.35"),
            traded_at=datetime(2026, 9, 21, 4, 45, 31, tzinfo=UTC),
            trade_date=TRADE_DAY,
        )
    ]


def test_a_position_keeps_its_sign() -> None:
    assert books.parse_positions(data("positions")) == [
        BrokerPosition(
            exchange=Exchange.NSE,
            trading_symbol="SBIN-EQ",
            token="3045",
            product=Product.MIS,
            net_quantity=-6,
            average_price=Decimal("195.43"),
        )
    ]


def test_the_recorded_funds_and_quote_are_read_exactly() -> None:
    assert books.parse_funds(data("funds")) == Funds(available=Decimal("100000.00"), net=Decimal("100000.00"))
    (quote,) = market.parse_quotes(data("quote_full"), {Exchange.NSE: ["3045"]})
    assert (quote.last_price, quote.close, quote.volume) == (Decimal("996.2"), Decimal("988.7"), 5699456)
    assert quote.at == datetime(2026, 9, 19, 1, 25, 7, tzinfo=UTC)


def test_prices_candles_and_profile_are_read() -> None:
    assert market.parse_last_price(data("last_price"), "3045") == 191
    first, second = market.parse_candles(list(reversed(data("candles"))))  # type: ignore[call-overload]
    assert first.start == datetime(2026, 9, 21, 3, 45, tzinfo=UTC)
    assert (second.low, second.volume) == (Decimal("194.2"), 80345)
    assert sessions.parse_profile(data("profile")).segments == ("nse_cm", "nse_fo")
    assert sessions.parse_profile({"clientcode": "A1", "exchanges": '["NSE", "BSE"]'}).segments == ("NSE", "BSE")


@pytest.mark.parametrize("parse", [books.parse_orders, books.parse_positions, market.parse_candles])
def test_null_is_an_empty_list_and_nothing_else_is(parse: Callable[[object], list[object]]) -> None:
    assert parse(data("order_book_empty")) == []
    assert parse([]) == []
    others: list[object] = ["", {}, 0, False, "null"]
    for other in others:
        with pytest.raises(Malformed):
            parse(other)


@pytest.mark.parametrize(("status", "state"), books.STATES.items())
def test_every_listed_status_has_its_meaning_in_any_writing(status: str, state: BrokerOrderState) -> None:
    assert books.order_state(status) is state
    assert books.order_state(f" {status.upper()} ") is state


@pytest.mark.parametrize("status", ["", "lapsed", "open?", "cancel pending"])
def test_a_status_that_no_source_lists_is_unrecognised_and_kept(status: str) -> None:
    order = books.parse_orders(row("order_book", orderstatus=status, status=status))[-1]
    assert order.state is BrokerOrderState.UNRECOGNISED
    assert order.raw_status == status


@pytest.mark.parametrize(
    "change",
    [
        {"orderid": ""},
        {"orderid": None},
        {"orderid": {"a": 1}},
        {"uniqueorderid": 1.5},
        {"ordertag": []},
        {"exchange": None},
        {"transactiontype": 5.5},
        {"exchange": "NYSE", "orderid": ""},
        {"tradingsymbol": None},
        {"quantity": "ten"},
        {"quantity": "1.5"},
        {"quantity": "-1"},
        {"quantity": None},
        {"quantity": True},
        {"quantity": "1e3"},
        {"quantity": "1_0"},
        {"quantity": "\uff11\uff10"},
        {"quantity": "9" * 16},
        {"quantity": 10**400},
        {"quantity": "Infinity"},
        {"filledshares": "NaN"},
        {"averageprice": "-1"},
        {"averageprice": ""},
        {"averageprice": "Infinity"},
        {"status": 5, "orderstatus": None},
        {"text": ["x"]},
    ],
)
def test_one_odd_order_row_makes_the_whole_book_unreadable(change: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        books.parse_orders(row("order_book", **change))


@pytest.mark.parametrize("change", [{"exchange": "NYSE"}, {"transactiontype": "HOLD"}])
def test_a_row_of_an_unknown_market_or_side_is_told_apart_and_hides_no_other(change: dict[str, object]) -> None:
    book = books.parse_orders(row("order_book", **change))
    assert [order.broker_order_id for order in book] == ["260921000000011"]
    (strange,) = book.strange
    assert strange.broker_order_id == "260921000000010"
    assert str(next(iter(change.values()))) in strange.problem


@pytest.mark.parametrize(
    ("change", "unsaid"),
    [
        ({"ordertype": "ROBO"}, "order_type"),
        ({"producttype": "MARGIN"}, "product"),
        ({"duration": None}, "validity"),
        ({"price": "a lot"}, "price"),
        ({"price": "0.00"}, "price"),
        ({"triggerprice": None}, "trigger_price"),
        ({"updatetime": "yesterday", "exchorderupdatetime": ""}, "updated_at"),
        ({"symboltoken": ""}, "token"),
    ],
)
def test_a_word_that_we_can_do_without_is_unsaid(change: dict[str, object], unsaid: str) -> None:
    order = books.parse_orders(row("order_book", variety="NEW", **change))[-1]
    assert getattr(order, unsaid) is None
    assert order.broker_order_id == "260921000000010"


@pytest.mark.parametrize(
    "change",
    [
        {"fillid": ""},
        {"fillsize": "0"},
        {"fillprice": None},
        {"filltime": "10:15"},
        {"filltime": "25:00:00"},
        {"filltime": "21-Sep-2026 10:15:31"},
        {"filltime": None},
        {"exchange": ""},
    ],
)
def test_one_odd_trade_row_makes_the_whole_book_unreadable(change: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        books.TradeBook().parse(row("trade_book", **change), TRADE_DAY)


@pytest.mark.parametrize(
    "change", [{"netqty": ""}, {"producttype": "MARGIN"}, {"symboltoken": None}, {"avgnetprice": "x"}]
)
def test_one_odd_position_makes_all_unreadable(change: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        books.parse_positions(row("positions", **change))


def test_a_row_that_is_no_object_makes_the_book_unreadable() -> None:
    odds: list[object] = [None, 1, "x", []]
    for odd in odds:
        with pytest.raises(Malformed):
            books.parse_orders([odd])


def test_an_average_price_may_be_missing_only_before_the_first_fill() -> None:
    unfilled = books.parse_orders(row("order_book", filledshares="0", averageprice=""))[-1]
    assert unfilled.average_price == 0


def test_details_must_be_of_the_order_asked_for() -> None:
    rows = data("order_book")
    assert isinstance(rows, list)
    assert books.parse_details(rows[0], "34reqfachdfih").broker_order_id == "260921000000010"
    with pytest.raises(Malformed):
        books.parse_details(rows[0], "another")


@pytest.mark.parametrize(
    "change",
    [
        {"exchFeedTime": "19-Foo-2026 06:55:07"},
        {"exchFeedTime": "31-Feb-2026 06:55:07"},
        {"exchFeedTime": "01-Jan-0001 00:00:00"},
        {"exchFeedTime": None},
        {"symbolToken": "9"},
        {"exchange": "XX"},
        {"ltp": None},
    ],
)
def test_an_odd_or_missing_quote_makes_all_unreadable(change: dict[str, object]) -> None:
    quotes = data("quote_full")
    assert isinstance(quotes, dict)
    with pytest.raises(Malformed):
        market.parse_quotes({"fetched": [quotes["fetched"][0] | change]}, {Exchange.NSE: ["3045"]})


@pytest.mark.parametrize(
    "candle",
    [
        None,
        [],
        ["2026-09-21T09:15:00", 1, 1, 1, 1, 1],
        ["x", 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1],
        ["2026-09-21T09:15:00+05:30", 1, 1, 1, 1, 1.5],
        ["2026-09-21T09:15:00+05:30", None, 1, 1, 1, 1],
    ],
)
def test_an_odd_candle_makes_the_history_unreadable(candle: object) -> None:
    with pytest.raises(Malformed):
        market.parse_candles([candle])


def test_a_last_price_of_another_token_is_unreadable() -> None:
    with pytest.raises(Malformed):
        market.parse_last_price(data("last_price"), "2885")


def test_a_strange_frame_is_left_to_the_book() -> None:
    update = copy.deepcopy(golden("stream_update")["frame"])
    update["orderData"] |= {"exchange": "NYSE"}
    assert stream.parse_frame(json.dumps(update)) is None


def test_stream_frames_prefer_the_order_over_the_code() -> None:
    greeting = golden("stream_greeting")["frame"]
    update = copy.deepcopy(golden("stream_update")["frame"])
    assert isinstance(update, dict)
    assert stream.parse_frame(json.dumps(greeting)) is None
    update["order-status"] = "AB00"
    update["orderData"] |= {"orderstatus": "rejected", "text": "margin"}
    rejected = stream.parse_frame(json.dumps(update))
    assert rejected is not None
    assert (rejected.state, rejected.text) == (BrokerOrderState.REJECTED, "margin")
    update["order-status"] = "AB02"
    update["orderData"] |= {"orderstatus": "", "status": None}
    cancelled = stream.parse_frame(json.dumps(update))
    assert cancelled is not None
    assert cancelled.state is BrokerOrderState.CANCELLED


@pytest.mark.parametrize(
    ("body", "status", "error", "retry_after_s"),
    [
        (golden_body("profile_invalid_token"), 200, SessionDead, None),
        (golden_body("profile_invalid_token"), 401, SessionDead, None),
        (golden_body("login_rate_limited"), 403, BrokerUnreadable, 1.0),
        (b'{"status":false,"errorcode":"AB1021","message":"Too many requests"}', 200, BrokerUnreadable, 1.0),
        (b'{"status":false,"errorcode":"AB2001","message":"Internal"}', 200, BrokerUnreadable, None),
        (b'{"status":false}', 200, BrokerUnreadable, None),
        (b'{"status":true,"data":null}', 500, BrokerUnreadable, None),
        (b'{"status":true,"errorcode":"AB1","data":null}', 200, BrokerUnreadable, None),
        (b'{"status":null,"data":null}', 200, BrokerUnreadable, None),
        (b"{}", 200, BrokerUnreadable, None),
        (b"", 200, BrokerUnreadable, None),
    ],
)
def test_a_read_without_proof_of_success_has_no_data(
    body: bytes, status: int, error: type[BrokerUnreadable], retry_after_s: float | None
) -> None:
    with pytest.raises(BrokerUnreadable) as failed:
        data_of(Reply(status=status, headers=Headers(), body=body))
    assert type(failed.value) is error
    assert failed.value.retry_after_s == retry_after_s


@pytest.mark.parametrize("body", ["NaN", "Infinity", "1" * 5000, "[" * 100_000, '{"a":}', "\ud800"])
def test_json_that_python_would_take_and_the_wire_would_not_is_malformed(body: str) -> None:
    with pytest.raises(Malformed):
        load_json(body)


def test_a_trade_row_is_read_anew_only_when_it_changed() -> None:
    book = books.TradeBook()
    first = book.parse(data("trade_book"), TRADE_DAY)
    assert [id(trade) for trade in book.parse(data("trade_book"), TRADE_DAY)] == [id(trade) for trade in first]
    changed = [{**row, "fillprice": "1.05"} for row in data("trade_book")]
    assert {trade.price for trade in book.parse(changed, TRADE_DAY)} == {Decimal("1.05")}
    next_day = TRADE_DAY + timedelta(days=1)
    assert {trade.trade_date for trade in book.parse(changed, next_day)} == {next_day}
