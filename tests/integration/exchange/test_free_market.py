"""The free market: arrivals meet the last price at once, the rest waits for the next one, and cash stays right."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from app.core.fees import order_fees
from app.core.orders import Side
from tests.harness.smartapi import LIMIT_BUY, MARKET_BUY, SECURE, STOP_SELL, WireClient
from tests.integration.exchange.conftest import RATES, Desk

MODIFY = f"{SECURE}/order/v1/modifyOrder"
CANCEL = f"{SECURE}/order/v1/cancelOrder"
CANDLES = f"{SECURE}/historical/v1/getCandleData"


async def standing(wire: WireClient, order_id: str) -> tuple[str, str]:
    row = (await wire.book())[order_id]
    return row["orderstatus"], row["filledshares"]


async def test_a_market_order_trades_at_the_last_price(wire: WireClient) -> None:
    await wire.print_price("150.25")
    order_id = await wire.placed(MARKET_BUY)
    assert await standing(wire, order_id) == ("complete", "10")
    (trade,) = await wire.trades()
    assert (trade["orderid"], trade["fillprice"], trade["fillsize"], trade["filltime"]) == (
        order_id,
        "150.25",
        "10",
        "10:30:00",
    )


async def test_a_market_order_without_any_price_is_rejected(wire: WireClient) -> None:
    order_id = await wire.placed(MARKET_BUY)
    assert await standing(wire, order_id) == ("rejected", "0")
    assert "stale price" in (await wire.book())[order_id]["text"]


async def test_a_limit_order_rests_until_the_price_comes_to_it(wire: WireClient) -> None:
    await wire.print_price("150.25")
    order_id = await wire.placed(LIMIT_BUY)
    assert await standing(wire, order_id) == ("open", "0")
    await wire.print_price("148.90")
    assert await standing(wire, order_id) == ("complete", "10")
    assert (await wire.trades())[0]["fillprice"] == "148.90"


async def test_a_budget_of_volume_is_shared_by_arrivals_until_the_next_price(wire: WireClient) -> None:
    await wire.print_price("149.00", 60)
    first = await wire.placed(LIMIT_BUY)
    second = await wire.placed(LIMIT_BUY)
    assert await standing(wire, first) == ("complete", "10")
    assert await standing(wire, second) == ("open", "5")
    await wire.print_price("149.00", 400)
    assert await standing(wire, second) == ("complete", "10")
    assert [trade["fillsize"] for trade in await wire.trades()] == ["10", "5", "5"]


async def test_resting_orders_trade_by_arrival(wire: WireClient) -> None:
    orders = [await wire.placed(LIMIT_BUY) for _ in range(3)]
    await wire.print_price("149.00", 60)
    assert [await standing(wire, order) for order in orders] == [("complete", "10"), ("open", "5"), ("open", "0")]


async def test_an_ioc_order_ends_at_once(wire: WireClient) -> None:
    nothing = await wire.placed(LIMIT_BUY, duration="IOC")
    await wire.print_price("149.00", 16)
    partly = await wire.placed(LIMIT_BUY, duration="IOC")
    assert await standing(wire, nothing) == ("cancelled", "0")
    assert await standing(wire, partly) == ("cancelled", "4")
    assert (await wire.book())[partly]["cancelsize"] == "6"


async def test_a_stop_waits_for_its_trigger_and_then_trades(wire: WireClient) -> None:
    await wire.print_price("150.25")
    order_id = await wire.placed(STOP_SELL)
    assert await standing(wire, order_id) == ("trigger pending", "0")
    await wire.print_price("147.95")
    assert await standing(wire, order_id) == ("complete", "10")


async def test_a_triggered_stop_limit_is_a_limit_order_from_then_on(wire: WireClient) -> None:
    order_id = await wire.placed(STOP_SELL, ordertype="STOPLOSS_LIMIT", price="147.50")
    await wire.print_price("147.00")
    assert await standing(wire, order_id) == ("open", "0")
    await wire.print_price("149.00")
    assert await standing(wire, order_id) == ("complete", "10")


async def test_a_modified_order_has_its_new_terms_and_loses_its_place(wire: WireClient) -> None:
    first = await wire.placed(LIMIT_BUY)
    second = await wire.placed(LIMIT_BUY)
    body = {**LIMIT_BUY, "orderid": first, "price": "149.50", "quantity": "12"}
    answer = (await wire.post(MODIFY, body)).json()
    assert answer["data"]["orderid"] == first
    await wire.print_price("149.00", 48)
    assert await standing(wire, second) == ("complete", "10")
    assert await standing(wire, first) == ("open", "2")
    assert (await wire.book())[first]["quantity"] == "12"


async def test_a_modified_order_meets_the_last_price_at_once(wire: WireClient) -> None:
    await wire.print_price("150.00")
    order_id = await wire.placed(LIMIT_BUY)
    await wire.post(MODIFY, {**LIMIT_BUY, "orderid": order_id, "price": "150.00"})
    assert await standing(wire, order_id) == ("complete", "10")


async def test_a_modified_stop_says_so_in_status_and_where_it_stands_in_orderstatus(wire: WireClient) -> None:
    order_id = await wire.placed(STOP_SELL)
    await wire.post(MODIFY, {**STOP_SELL, "orderid": order_id, "triggerprice": "147.00"})
    row = (await wire.book())[order_id]
    assert (row["status"], row["orderstatus"], row["triggerprice"]) == ("modified", "trigger pending", "147.00")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"orderid": "404"}, "AB1013"),
        ({"orderid": ""}, "AB1004"),
        ({"variety": "STOPLOSS"}, "AB1008"),
        ({"ordertype": "STOPLOSS_LIMIT"}, "AB1008"),
        ({"quantity": "0"}, "AB1004"),
        ({"price": "149.03"}, "AB1004"),
        ({"quantity": "x"}, "AB1004"),
    ],
)
async def test_bad_new_terms_are_refused_and_change_nothing(
    wire: WireClient, changes: dict[str, str], code: str
) -> None:
    order_id = await wire.placed(LIMIT_BUY)
    before = await wire.book()
    answer = (await wire.post(MODIFY, {**LIMIT_BUY, "orderid": order_id} | changes)).json()
    assert answer["errorcode"] == code
    assert await wire.book() == before


async def test_a_cancelled_order_trades_no_more_and_keeps_what_it_traded(wire: WireClient) -> None:
    await wire.print_price("149.00", 16)
    order_id = await wire.placed(LIMIT_BUY)
    wrong = (await wire.post(CANCEL, {"variety": "STOPLOSS", "orderid": order_id})).json()
    assert wrong["errorcode"] == "AB1008"
    assert (await wire.post(CANCEL, {"variety": "NORMAL", "orderid": order_id})).json()["status"] is True
    await wire.print_price("148.00")
    assert await standing(wire, order_id) == ("cancelled", "4")
    again = (await wire.post(CANCEL, {"variety": "NORMAL", "orderid": order_id})).json()
    assert again["errorcode"] == "AB1013"


async def test_nobody_can_touch_the_order_of_someone_else(desk: Desk, wire: WireClient) -> None:
    order_id = await wire.placed(LIMIT_BUY)
    other = await desk.enter(wire, "P200")
    assert (await other.post(CANCEL, {"variety": "NORMAL", "orderid": order_id})).json()["errorcode"] == "AB1013"
    assert await standing(wire, order_id) == ("open", "0")


async def test_cash_is_start_less_buys_plus_sells_less_fees(wire: WireClient) -> None:
    await wire.print_price("100.00", 24)
    await wire.placed(LIMIT_BUY)
    await wire.print_price("100.00", 400)
    await wire.print_price("110.00")
    await wire.placed(MARKET_BUY, transactiontype="SELL")
    fees = order_fees(RATES, side=Side.BUY, turnover=Decimal(1000)) + order_fees(
        RATES, side=Side.SELL, turnover=Decimal(1100)
    )
    summary = (await wire.control("GET", "/control/ledger/P100/summary")).json()
    assert Decimal(summary["fees"]) == fees
    assert Decimal(summary["cash"]) == 1_000_000 - 1000 + 1100 - fees
    assert Decimal(summary["realized_pnl"]) == 100
    assert (summary["orders"], summary["trades"], summary["terminal"]) == (2, 3, 2)
    funds = (await wire.get(f"{SECURE}/user/v1/getRMS")).json()["data"]
    assert (funds["availablecash"], funds["m2mrealized"]) == (summary["cash"], "100.00")


async def test_the_ledger_witnesses_every_arrival_of_one_tag_on_its_own(wire: WireClient) -> None:
    ids = [await wire.placed(LIMIT_BUY) for _ in range(3)]
    await wire.place(LIMIT_BUY, producttype="MTF")
    testimony = (await wire.control("GET", "/control/ledger/P100")).json()
    assert [order["order_id"] for order in testimony["orders"]] == ids
    assert {order["tag"] for order in testimony["orders"]} == {"SDTAG"}
    assert all(order["acknowledged"] for order in testimony["orders"])
    assert testimony["summary"]["max_per_calendar_second"] == 3


async def test_a_day_order_lapses_when_the_day_is_over_and_the_books_begin_anew(desk: Desk, wire: WireClient) -> None:
    await wire.print_price("150.00")
    await wire.placed(MARKET_BUY)
    await wire.placed(LIMIT_BUY)
    desk.now += timedelta(days=1)
    await wire.login(at=desk.now)
    await wire.print_price("148.00")
    assert await wire.book() == {}
    assert await wire.trades() == []
    lapsed = (await wire.control("GET", "/control/ledger/P100")).json()["orders"][1]
    assert (lapsed["status"], lapsed["text"], lapsed["filled"]) == ("cancelled", "day order lapsed", 0)
    (carried,) = (await wire.get(f"{SECURE}/order/v1/getPosition")).json()["data"]
    assert (carried["netqty"], carried["buyqty"], carried["cfbuyqty"]) == ("10", "0", "10")


async def test_candles_hold_what_was_printed(desk: Desk, wire: WireClient) -> None:
    start = datetime(2026, 9, 21, 3, 45, tzinfo=UTC)
    for minute, price in enumerate(["100.00", "103.00", "99.00", "101.00", "102.00", "104.00"]):
        desk.now = start + timedelta(minutes=minute)
        await wire.print_price(price, 10)
        await wire.print_price(str(Decimal(price) + 1), 5)
    body = {"exchange": "NSE", "symboltoken": "11915", "fromdate": "2026-09-21 09:15", "todate": "2026-09-21 15:30"}
    minutes = (await wire.post(CANDLES, body | {"interval": "ONE_MINUTE"})).json()["data"]
    assert len(minutes) == 6
    assert minutes[1] == ["2026-09-21T09:16:00+05:30", 103.0, 104.0, 103.0, 104.0, 15]
    fives = (await wire.post(CANDLES, body | {"interval": "FIVE_MINUTE"})).json()["data"]
    assert fives == [
        ["2026-09-21T09:15:00+05:30", 100.0, 104.0, 99.0, 103.0, 75],
        ["2026-09-21T09:20:00+05:30", 104.0, 105.0, 104.0, 105.0, 15],
    ]
    (day,) = (await wire.post(CANDLES, body | {"interval": "ONE_DAY"})).json()["data"]
    assert day == ["2026-09-21T00:00:00+05:30", 100.0, 105.0, 99.0, 105.0, 90]
    empty = body | {"interval": "ONE_MINUTE", "fromdate": "2020-01-01 09:15", "todate": "2020-01-01 15:30"}
    assert (await wire.post(CANDLES, empty)).json()["data"] is None


async def test_an_unknown_interval_gets_an_empty_400_as_on_the_wire(wire: WireClient) -> None:
    answer = await wire.post(CANDLES, {"exchange": "NSE", "symboltoken": "11915", "interval": "TWO_MINUTE"})
    assert (answer.status_code, answer.content) == (400, b"")


@pytest.mark.parametrize(
    "changes",
    [{"fromdate": "yesterday"}, {"fromdate": "2026-01-01 09:15"}, {"symboltoken": "1"}, {"exchange": 5}],
)
async def test_bad_requests_for_candles_are_refused(wire: WireClient, changes: dict[str, object]) -> None:
    body = {"exchange": "NSE", "symboltoken": "11915", "interval": "ONE_MINUTE"}
    body |= {"fromdate": "2026-09-21 09:15", "todate": "2026-09-21 15:30"}
    assert (await wire.post(CANDLES, {**body, **changes})).json()["status"] is False


async def test_prices_that_are_missing_or_asked_for_wrongly_are_refused(wire: WireClient) -> None:
    ltp = {"exchange": "NSE", "tradingsymbol": "YESBANK-EQ", "symboltoken": "11915"}
    assert (await wire.post(f"{SECURE}/order/v1/getLtpData", ltp)).json()["errorcode"] == "AB1018"
    unknown = await wire.post(f"{SECURE}/order/v1/getLtpData", ltp | {"symboltoken": "1"})
    assert unknown.json()["errorcode"] == "AB1009"
    for body in (
        {"mode": "DEPTH", "exchangeTokens": {"NSE": ["11915"]}},
        {"mode": "LTP", "exchangeTokens": []},
        {"mode": "LTP", "exchangeTokens": {"NSE": [11915]}},
        {"mode": "LTP", "exchangeTokens": {"NSE": ["1"] * 30, "BSE": ["1"] * 30}},
    ):
        assert (await wire.post(f"{SECURE}/market/v1/quote/", body)).json()["errorcode"] == "AB1004"
