"""The answers have the shapes that were recorded, and bad requests get the wire's own refusals."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyotp
import pytest

from tests.harness.smartapi import AUTH, LIMIT_BUY, MARKET_BUY, SECURE, STOP_SELL, WireClient
from tests.integration.exchange.conftest import Desk

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "angelone"
RECORDED = json.loads((GOLDEN / "recorded_responses.json").read_text())
DOCUMENTED = json.loads((GOLDEN / "documented_responses.json").read_text())
SOCKET_ONLY = {"ordertag"}


def shape(value: object) -> object:
    """The keys of an answer and the JSON types below them, numbers all alike."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


async def test_every_answer_carries_the_paper_marker(wire: WireClient) -> None:
    for path in ("/health", "/nowhere", f"{SECURE}/user/v1/getProfile"):
        assert (await wire.get(path)).headers["x-paper-exchange"] == "sauda"


async def test_login_gives_three_bare_tokens_and_echoes_the_state(desk: Desk, wire: WireClient) -> None:
    code = pyotp.TOTP(wire.client.totp_secret).at(desk.now)
    body = {"clientcode": "P100", "password": wire.client.pin, "totp": code, "state": "live"}
    answer = (await wire.post(f"{AUTH}/user/v1/loginByPassword", body)).json()
    assert set(answer["data"]) == {"jwtToken", "refreshToken", "feedToken", "state"}
    assert answer["data"]["state"] == "live"
    assert not answer["data"]["jwtToken"].startswith("Bearer")


@pytest.mark.parametrize(("offset_s", "accepted"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
async def test_a_code_of_the_half_minute_before_or_after_still_logs_in(
    desk: Desk, wire: WireClient, *, offset_s: int, accepted: bool
) -> None:
    code = pyotp.TOTP(wire.client.totp_secret).at(desk.now + timedelta(seconds=offset_s))
    body = {"clientcode": "P100", "password": wire.client.pin, "totp": code}
    answer = (await wire.post(f"{AUTH}/user/v1/loginByPassword", body)).json()
    assert answer["status"] is accepted
    if not accepted:
        assert answer == RECORDED["login_bad_totp"]["body"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"password": "0000"}, "AB1000"), ({"clientcode": "P999"}, "AB1000"), ({"totp": 123456}, "AB1004")],
)
async def test_a_wrong_login_is_refused_in_the_ordinary_dialect(
    desk: Desk, wire: WireClient, changes: dict[str, object], code: str
) -> None:
    totp = pyotp.TOTP(wire.client.totp_secret).at(desk.now)
    body = {"clientcode": "P100", "password": wire.client.pin, "totp": totp} | changes
    answer = await wire.post(f"{AUTH}/user/v1/loginByPassword", body)
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["errorcode"], answer.json()["data"]) == (False, code, None)


async def test_token_failures_come_in_the_gateways_dialect(desk: Desk, wire: WireClient) -> None:
    path = f"{SECURE}/user/v1/getProfile"
    invalid = await wire.http.get(path, headers={"Authorization": "Bearer nonsense"})
    assert (invalid.status_code, invalid.json()) == (200, RECORDED["profile_invalid_token"]["body"])
    assert (await wire.http.get(path)).json()["errorCode"] == "AG8003"
    wrong_key = {"Authorization": f"Bearer {wire.tokens['jwtToken']}", "X-PrivateKey": "other"}
    assert (await wire.http.get(path, headers=wrong_key)).json()["errorCode"] == "AG8004"
    desk.now += timedelta(days=1)
    assert (await wire.get(path)).json()["errorCode"] == "AG8002"


async def test_a_refresh_rotates_all_three_tokens(desk: Desk, wire: WireClient) -> None:
    path, old = f"{AUTH}/jwt/v1/generateTokens", dict(wire.tokens)
    wire.tokens = (await wire.post(path, {"refreshToken": old["refreshToken"]})).json()["data"]
    assert not set(old.values()) & set(wire.tokens.values())
    assert (await wire.get(f"{SECURE}/user/v1/getProfile")).json()["status"] is True
    again = (await wire.post(path, {"refreshToken": old["refreshToken"]})).json()
    assert again["errorcode"] == "AB8050"
    desk.now += timedelta(days=1)
    late = (await wire.post(path, {"refreshToken": wire.tokens["refreshToken"]})).json()
    assert late["errorcode"] == "AB8051"


async def test_logout_ends_the_session(wire: WireClient) -> None:
    other = (await wire.post(f"{SECURE}/user/v1/logout", {"clientcode": "P999"})).json()
    assert other["errorcode"] == "AB1011"
    answer = (await wire.post(f"{SECURE}/user/v1/logout", {"clientcode": "P100"})).json()
    assert answer == RECORDED["logout"]["body"]
    assert (await wire.get(f"{SECURE}/user/v1/getProfile")).json()["errorCode"] == "AG8001"


async def test_a_client_keeps_at_most_twenty_sessions(desk: Desk, wire: WireClient) -> None:
    first = dict(wire.tokens)
    for _ in range(20):
        await wire.login(at=desk.now)
    assert (await wire.get(f"{SECURE}/user/v1/getProfile")).json()["status"] is True
    wire.tokens = first
    assert (await wire.get(f"{SECURE}/user/v1/getProfile")).json()["errorCode"] == "AG8001"


@pytest.mark.parametrize("path", ["getOrderBook", "getTradeBook", "getPosition"])
async def test_empty_lists_are_null(wire: WireClient, path: str) -> None:
    answer = (await wire.get(f"{SECURE}/order/v1/{path}")).json()
    assert answer == RECORDED["order_book_empty"]["body"]


async def test_funds_and_profile_have_the_recorded_shape(wire: WireClient) -> None:
    funds = (await wire.get(f"{SECURE}/user/v1/getRMS")).json()
    assert shape(funds) == shape(RECORDED["funds"]["body"])
    assert funds["data"]["availablecash"] == "1000000.00"
    profile = (await wire.get(f"{SECURE}/user/v1/getProfile")).json()
    assert profile["data"]["clientcode"] == "P100"
    assert isinstance(profile["data"]["exchanges"], list)


async def test_a_full_quote_has_the_recorded_shape_and_names_what_it_lacks(wire: WireClient) -> None:
    await wire.print_price("150.25", 1000)
    body = {"mode": "FULL", "exchangeTokens": {"NSE": ["11915", "1"]}}
    answer = (await wire.post(f"{SECURE}/market/v1/quote/", body)).json()
    assert shape(answer["data"]["fetched"][0]) == shape(RECORDED["quote_full"]["body"]["data"]["fetched"][0])
    assert answer["data"]["unfetched"][0]["symbolToken"] == "1"
    short = (await wire.post(f"{SECURE}/market/v1/quote", body | {"mode": "LTP"})).json()
    assert set(short["data"]["fetched"][0]) == {"exchange", "tradingSymbol", "symbolToken", "ltp"}


async def test_the_books_rows_have_the_documented_keys_and_strings_for_numbers(wire: WireClient) -> None:
    await wire.print_price("150.25")
    placed = await wire.place(MARKET_BUY)
    assert set(placed["data"]) == set(DOCUMENTED["place"]["body"]["data"])
    row = (await wire.book())[placed["data"]["orderid"]]
    assert set(row) - SOCKET_ONLY == set(DOCUMENTED["order_book"]["body"]["data"][0]) - SOCKET_ONLY
    assert all(isinstance(value, str) for value in row.values())
    (trade,) = await wire.trades()
    assert set(trade) == set(DOCUMENTED["trade_book"]["body"]["data"][0])
    assert all(isinstance(value, str) for value in trade.values())
    (position,) = (await wire.get(f"{SECURE}/order/v1/getPosition")).json()["data"]
    assert set(position) >= set(DOCUMENTED["positions"]["body"]["data"][0])
    assert (position["netqty"], position["buyavgprice"], position["netvalue"]) == ("10", "150.25", "- 1502.50")
    ltp_body = {"exchange": "NSE", "tradingsymbol": "YESBANK-EQ", "symboltoken": "11915"}
    ltp = (await wire.post(f"{SECURE}/order/v1/getLtpData", ltp_body)).json()
    assert shape(ltp) == shape(DOCUMENTED["last_price"]["body"])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"variety": "AMO"}, "AB1008"),
        ({"variety": "STOPLOSS"}, "AB1008"),
        ({"variety": "ROBO"}, "AB2002"),
        ({"symboltoken": "1"}, "AB1009"),
        ({"tradingsymbol": "SBIN-EQ"}, "AB1009"),
        ({"exchange": ""}, "AB1009"),
        ({"producttype": "MTF"}, "AB1012"),
        ({"ordertag": "x" * 20}, "AB4008"),
        ({"ordertag": "\ud800"}, "AB4008"),
        ({"ordertag": 7}, "AB4008"),
        ({"ordertype": "ICEBERG"}, "AB1004"),
        ({"transactiontype": "HOLD"}, "AB1004"),
        ({"duration": "GTC"}, "AB1004"),
        ({"quantity": "ten"}, "AB1004"),
        ({"quantity": "1.5"}, "AB1004"),
        ({"quantity": True}, "AB1004"),
        ({"quantity": None}, "AB1004"),
        ({"quantity": "NaN"}, "AB1004"),
        ({"price": "Infinity"}, "AB1004"),
        ({"price": "1E-999999"}, "AB1004"),
        ({"price": "1" * 40}, "AB1004"),
        ({"price": [1]}, "AB1004"),
    ],
)
async def test_an_order_that_the_wire_cannot_take_is_refused_with_a_code_and_leaves_no_trace(
    wire: WireClient, changes: dict[str, Any], code: str
) -> None:
    # Lone surrogates are legal in JSON text only as escapes, which is how a client would send them.
    content = json.dumps(LIMIT_BUY | changes)
    answer = await wire.http.post(f"{SECURE}/order/v1/placeOrder", content=content, headers=wire.headers)
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["errorcode"], answer.json()["data"]) == (False, code, None)
    assert await wire.book() == {}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"quantity": "0"}, "quantity"),
        ({"quantity": "-5"}, "quantity"),
        ({"price": "149.03"}, "tick size"),
        ({"price": "149.00000001"}, "tick size"),
        ({"price": "0"}, "positive"),
        ({"price": "-1"}, "positive"),
        ({"symboltoken": "99926000", "tradingsymbol": "Nifty 50"}, "index"),
        (STOP_SELL | {"triggerprice": "0"}, "trigger price"),
        (STOP_SELL | {"triggerprice": "148.01"}, "trigger price"),
        (
            {"exchange": "NFO", "symboltoken": "57000", "tradingsymbol": "NIFTY28NOV26FUT", "quantity": "80"},
            "lot size",
        ),
    ],
)
async def test_an_order_that_breaks_a_market_rule_gets_a_receipt_and_a_rejected_row_with_the_reason(
    wire: WireClient, changes: dict[str, str], text: str
) -> None:
    order_id = await wire.placed(LIMIT_BUY, **changes)
    row = (await wire.book())[order_id]
    assert row["orderstatus"] == "rejected"
    assert text in row["text"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 60_000, b'{"quantity":' + b"9" * 5000 + b"}"]
)
@pytest.mark.parametrize("path", ["placeOrder", "modifyOrder", "cancelOrder", "getLtpData"])
async def test_garbage_is_refused_and_never_breaks_the_exchange(wire: WireClient, path: str, body: bytes) -> None:
    answer = await wire.http.post(f"{SECURE}/order/v1/{path}", content=body, headers=wire.headers)
    assert answer.status_code == 200
    assert answer.json()["status"] is False


async def test_an_oversized_body_is_refused_unread(wire: WireClient) -> None:
    answer = await wire.http.post(f"{SECURE}/order/v1/placeOrder", content=b" " * 70_000, headers=wire.headers)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("mode", "in_book", "in_details"), [("book", True, True), ("details", False, True), ("none", False, False)]
)
async def test_tags_come_back_only_where_the_knob_says(
    wire: WireClient, *, mode: str, in_book: bool, in_details: bool
) -> None:
    await wire.print_price("150.25")
    order_id = await wire.placed(MARKET_BUY)
    assert (await wire.book())[order_id]["ordertag"] == "SDTAG"
    await wire.control("POST", "/control/tag-echo", {"mode": mode})
    row = (await wire.book())[order_id]
    assert ("ordertag" in row) is in_book
    details = (await wire.get(f"{SECURE}/order/v1/details/{row['uniqueorderid']}")).json()["data"]
    assert (details["ordertag"] == "SDTAG") is in_details
    assert isinstance(details["price"], float)


async def test_details_of_an_unknown_or_foreign_order_are_not_found(desk: Desk, wire: WireClient) -> None:
    order = await wire.place(LIMIT_BUY)
    other = await desk.enter(wire, "P200")
    for unique_id in ("nothing", order["data"]["uniqueorderid"]):
        answer = (await other.get(f"{SECURE}/order/v1/details/{unique_id}")).json()
        assert answer["errorcode"] == "AB1013"


async def test_symbols_are_found_by_a_part_of_their_name(wire: WireClient) -> None:
    answer = (await wire.post(f"{SECURE}/order/v1/searchScrip", {"exchange": "NSE", "searchscrip": "yes"})).json()
    assert answer["data"] == [{"exchange": "NSE", "tradingsymbol": "YESBANK-EQ", "symboltoken": "11915"}]
