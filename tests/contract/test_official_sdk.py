"""The official SDK, as published, trades on the paper exchange: the proof that the wire is spoken right.

It is imported in a process of its own, in an empty folder, because importing it asks the internet for an address
and constructing it makes a log folder. Single-order details are left out: the SDK asks for those at a fixed host.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from tests.harness.exchange import ExchangeProcess

SDK_VERSION = "1.5.5"
SDK_TIMEOUT_S = 60

SCRIPT = """
import json, sys
import pyotp, requests

def refuse(*_args, **_kwargs):
    raise requests.ConnectionError("no network while importing")

real_get, requests.get = requests.get, refuse
import SmartApi
requests.get = real_get

root, code, pin, secret, key = sys.argv[1:]
sdk = SmartApi.SmartConnect(api_key=key, root=root)
order = {
    "variety": "NORMAL", "tradingsymbol": "YESBANK-EQ", "symboltoken": "11915", "transactiontype": "BUY",
    "exchange": "NSE", "ordertype": "MARKET", "producttype": "INTRADAY", "duration": "DAY", "price": "0",
    "squareoff": "0", "stoploss": "0", "quantity": "10", "ordertag": "SDSDK",
}
seen = {"wrong_totp": sdk.generateSession(code, pin, "000000")}
seen["login"] = sdk.generateSession(code, pin, pyotp.TOTP(secret).now())
seen["profile"] = sdk.getProfile(sdk.refresh_token)
seen["empty_book"] = sdk.orderBook()
seen["market"] = sdk.placeOrder(dict(order))
limit = {**order, "ordertype": "LIMIT", "price": "140.00"}
seen["limit"] = sdk.placeOrderFullResponse(dict(limit))
limit_id = seen["limit"]["data"]["orderid"]
seen["modify"] = sdk.modifyOrder({**limit, "orderid": limit_id, "price": "141.00", "quantity": "12"})
seen["after_modify"] = sdk.orderBook()
seen["cancel"] = sdk.cancelOrder(limit_id, "NORMAL")
seen["bad_tag"] = sdk.placeOrderFullResponse({**order, "ordertag": "x" * 20})
seen["book"] = sdk.orderBook()
seen["trades"] = sdk.tradeBook()
seen["positions"] = sdk.position()
seen["funds"] = sdk.rmsLimit()
seen["ltp"] = sdk.ltpData("NSE", "YESBANK-EQ", "11915")
seen["quote"] = sdk.getMarketData("FULL", {"NSE": ["11915"]})
seen["search"] = sdk.searchScrip("NSE", "YESBANK")
seen["candles"] = sdk.getCandleData({
    "exchange": "NSE", "symboltoken": "11915", "interval": "ONE_MINUTE",
    "fromdate": "2019-01-01 09:15", "todate": "2019-01-01 15:30",
})
seen["refresh"] = sdk.generateToken(sdk.refresh_token)
seen["logout"] = sdk.terminateSession(code)
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the SDK returned, call by call."""
    exchange = ExchangeProcess()
    try:
        client = exchange.add_client()
        exchange.control("POST", "/control/mode", {"mode": "lockstep"})
        prices = [{"exchange": "NSE", "token": "11915", "price": "149.00", "volume": 400}]
        step = {"run": "candles", "step": 1, "time": "2019-01-01T03:45:00+00:00", "prices": prices}
        exchange.control("POST", "/control/step", step)
        exchange.control("POST", "/control/mode", {"mode": "free"})
        exchange.print_price("150.25", volume=1000)
        folder = tmp_path_factory.mktemp("sdk")
        arguments = [exchange.url, client.client_code, client.pin, client.totp_secret, client.api_key]
        environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        ended = subprocess.run(
            [sys.executable, "-c", SCRIPT, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SDK_TIMEOUT_S,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        assert (folder / "logs").is_dir(), "the SDK keeps its logs to the folder that it runs in"
        yield json.loads(ended.stdout.splitlines()[-1])
    finally:
        exchange.stop()


def test_it_is_the_published_version_unmodified() -> None:
    sdk = distribution("smartapi-python")
    assert sdk.version == SDK_VERSION
    sources = [file for file in sdk.files or [] if file.suffix == ".py" and file.hash]
    assert "smartConnect.py" in {source.name for source in sources}
    for source in sources:
        digest = hashlib.sha256(Path(str(source.locate())).read_bytes()).digest()
        assert source.hash is not None
        assert source.hash.value == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_login_and_profile(seen: dict[str, Any]) -> None:
    assert seen["wrong_totp"]["errorcode"] == "AB1050"
    assert seen["login"]["data"]["clientcode"] == "P100"
    assert seen["login"]["data"]["jwtToken"].startswith("Bearer ")
    assert seen["profile"]["data"]["exchanges"]


def test_place_modify_and_cancel(seen: dict[str, Any]) -> None:
    limit_id = seen["limit"]["data"]["orderid"]
    assert seen["market"] != limit_id
    assert seen["modify"]["data"]["orderid"] == seen["cancel"]["data"]["orderid"] == limit_id
    modified = next(row for row in seen["after_modify"]["data"] if row["orderid"] == limit_id)
    assert (modified["price"], modified["quantity"], modified["orderstatus"]) == ("141.00", "12", "open")
    assert seen["bad_tag"]["errorcode"] == "AB4008"


def test_the_three_books(seen: dict[str, Any]) -> None:
    assert seen["empty_book"]["data"] is None
    states = {row["orderid"]: (row["orderstatus"], row["ordertag"]) for row in seen["book"]["data"]}
    assert states == {
        seen["market"]: ("complete", "SDSDK"),
        seen["limit"]["data"]["orderid"]: ("cancelled", "SDSDK"),
    }
    (trade,) = seen["trades"]["data"]
    assert (trade["orderid"], trade["fillprice"], trade["fillsize"]) == (seen["market"], "150.25", "10")
    (position,) = seen["positions"]["data"]
    assert (position["netqty"], position["avgnetprice"]) == ("10", "150.25")
    assert seen["funds"]["data"]["net"] == "998497.50"


def test_prices_quote_search_and_candles(seen: dict[str, Any]) -> None:
    assert seen["ltp"]["data"]["ltp"] == 150.25
    assert seen["quote"]["data"]["fetched"][0]["tradingSymbol"] == "YESBANK-EQ"
    assert seen["search"]["data"][0]["symboltoken"] == "11915"
    assert seen["candles"]["data"] == [["2019-01-01T09:15:00+05:30", 149.0, 149.0, 149.0, 149.0, 400]]


def test_refresh_and_logout(seen: dict[str, Any]) -> None:
    assert seen["refresh"]["status"] is True
    assert seen["logout"]["data"] == "Logout Successfully"
