"""The words in which the broker is asked."""

import json
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from app.brokers.angelone import requests, routes
from app.brokers.angelone.routes import Route, RouteTableError, official_paths, paths_in
from app.brokers.base import CandleInterval
from app.core.instruments import Exchange
from app.core.orders import OrderType, Side, Validity
from app.core.ports import PlaceRequest
from tests.harness.angelone import place_request

ORDER = "/rest/secure/angelbroking/order/v1/"


def test_a_limit_order_is_written_in_text_with_its_tag() -> None:
    body = json.loads(requests.place_body(place_request(), tag_length_max=19))
    assert body == {
        "variety": "NORMAL",
        "tradingsymbol": "SBIN-EQ",
        "symboltoken": "3045",
        "transactiontype": "BUY",
        "exchange": "NSE",
        "ordertype": "LIMIT",
        "producttype": "INTRADAY",
        "duration": "DAY",
        "price": "194.50",
        "triggerprice": "0",
        "quantity": "10",
        "disclosedquantity": "0",
        "squareoff": "0",
        "stoploss": "0",
        "ordertag": "SDAAAAAAAAAAAAAAAA",
    }


@pytest.mark.parametrize(
    ("order_type", "price", "trigger", "variety", "name"),
    [
        (OrderType.MARKET, None, None, "NORMAL", "MARKET"),
        (OrderType.LIMIT, Decimal(1), None, "NORMAL", "LIMIT"),
        (OrderType.SL, Decimal(1), Decimal(2), "STOPLOSS", "STOPLOSS_LIMIT"),
        (OrderType.SL_M, None, Decimal(2), "STOPLOSS", "STOPLOSS_MARKET"),
    ],
)
def test_stop_orders_go_with_their_own_variety(
    order_type: OrderType, price: Decimal | None, trigger: Decimal | None, variety: str, name: str
) -> None:
    request = place_request(
        order_type=order_type, price=price, trigger_price=trigger, side=Side.SELL, validity=Validity.IOC
    )
    body = json.loads(requests.place_body(request, tag_length_max=19))
    assert (body["variety"], body["ordertype"]) == (variety, name)
    assert (body["price"], body["triggerprice"]) == (str(price or 0), str(trigger or 0))
    assert (body["transactiontype"], body["duration"]) == ("SELL", "IOC")
    assert json.loads(requests.cancel_body("7", order_type)) == {"variety": variety, "orderid": "7"}
    assert json.loads(requests.modify_body("7", request))["orderid"] == "7"


def test_a_price_is_never_written_with_an_exponent() -> None:
    body = json.loads(requests.place_body(place_request(price=Decimal("1E+3")), tag_length_max=19))
    assert body["price"] == "1000"


@pytest.mark.parametrize(
    "request_",
    [
        place_request(tag="S" * 20),
        place_request(tag=""),
        place_request(tag="SDé"),
        place_request(quantity=0),
        place_request(price=None),
        place_request(price=Decimal(0)),
        place_request(price=Decimal("NaN")),
        place_request(trigger_price=Decimal(1)),
        place_request(order_type=OrderType.MARKET),
        place_request(order_type=OrderType.SL),
    ],
)
def test_a_request_that_contradicts_itself_is_not_written(request_: PlaceRequest) -> None:
    with pytest.raises(requests.UnsendableRequest):
        requests.place_body(request_, tag_length_max=19)


def test_a_quote_has_a_bounded_number_of_tokens() -> None:
    for tokens in ([], ["1"] * 51):
        with pytest.raises(requests.UnsendableRequest):
            requests.quotes_body({Exchange.NSE: tokens})


def test_candles_are_asked_for_in_indian_minutes() -> None:
    body = json.loads(
        requests.candles_body(
            Exchange.NSE,
            "3045",
            CandleInterval.ONE_MINUTE,
            datetime(2026, 9, 21, 3, 45, tzinfo=UTC),
            datetime(2026, 9, 21, 10, 0, tzinfo=UTC),
        )
    )
    assert (body["fromdate"], body["todate"]) == ("2026-09-21 09:15", "2026-09-21 15:30")


def test_the_official_table_names_the_paths_that_the_documents_name() -> None:
    assert official_paths() == {
        Route.LOGIN: "/rest/auth/angelbroking/user/v1/loginByPassword",
        Route.REFRESH: "/rest/auth/angelbroking/jwt/v1/generateTokens",
        Route.LOGOUT: "/rest/secure/angelbroking/user/v1/logout",
        Route.PROFILE: "/rest/secure/angelbroking/user/v1/getProfile",
        Route.FUNDS: "/rest/secure/angelbroking/user/v1/getRMS",
        Route.PLACE: ORDER + "placeOrder",
        Route.MODIFY: ORDER + "modifyOrder",
        Route.CANCEL: ORDER + "cancelOrder",
        Route.ORDER_BOOK: ORDER + "getOrderBook",
        Route.ORDER_DETAILS: ORDER + "details/",
        Route.TRADE_BOOK: ORDER + "getTradeBook",
        Route.POSITIONS: ORDER + "getPosition",
        Route.LAST_PRICE: ORDER + "getLtpData",
        Route.QUOTES: "/rest/secure/angelbroking/market/v1/quote",
        Route.CANDLES: "/rest/secure/angelbroking/historical/v1/getCandleData",
    }


@pytest.mark.parametrize(
    "source",
    ["x = 1", "_routes = []", "_routes = {'api.login': 5}", "_routes = {'api.login': 'http://elsewhere/'}"],
)
def test_a_table_that_is_not_what_it_was_is_refused(source: str) -> None:
    with pytest.raises(RouteTableError):
        paths_in(source)


def test_without_the_official_sdk_there_are_no_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "SDK_PACKAGE", "no-such-package")
    official_paths.cache_clear()
    with pytest.raises(RouteTableError, match="no-such-package"):
        official_paths()


def test_the_official_sdk_is_read_and_never_imported() -> None:
    loaded = set(sys.modules)
    official_paths.cache_clear()
    official_paths()
    assert not [name for name in set(sys.modules) - loaded if name.startswith("SmartApi")]
