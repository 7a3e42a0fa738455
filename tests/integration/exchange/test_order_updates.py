"""The order-update socket: who may listen, what is told, and what the fault knobs do to it."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.harness.exchange import ExchangeProcess, PaperClient
from tests.harness.smartapi import LIMIT_BUY, MARKET_BUY, SECURE, STOP_SELL, WireClient

_codes = itertools.count(1)
WAIT_S = 5


@pytest.fixture
async def wire(exchange: ExchangeProcess) -> AsyncIterator[WireClient]:
    """A client of its own on the real exchange."""
    client = exchange.add_client(PaperClient(client_code=f"U{next(_codes)}"))
    exchange.print_price("1.00")  # ends what other tests left resting, which would share in the volume
    exchange.print_price("150.00")
    async with httpx.AsyncClient(base_url=exchange.url, timeout=5) as http:
        wire = WireClient(http, client)
        await wire.login()
        yield wire
        exchange.control("PUT", "/control/faults", {"seed": 0, "rules": []})
        exchange.control("POST", "/control/tag-echo", {"mode": "book"})


def listen(exchange: ExchangeProcess, token: str) -> AbstractAsyncContextManager[ClientConnection]:
    url = exchange.url.replace("http", "ws") + "/smart-order-update"
    return connect(url, additional_headers={"Authorization": f"Bearer {token}"} if token else {}, proxy=None)


async def frame(socket: ClientConnection) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), WAIT_S))
    return parsed


async def frames_until(socket: ClientConnection, code: str) -> list[tuple[str, str, str]]:
    """Codes, states and filled quantities up to the first frame with a code."""
    seen: list[tuple[str, str, str]] = []
    while not seen or seen[-1][0] != code:
        told = await frame(socket)
        data = told["orderData"]
        seen.append((told["order-status"], data["orderstatus"], data["filledshares"]))
    return seen


async def greeting_once_there_is_room(exchange: ExchangeProcess, token: str) -> str:
    """Connect until the exchange has noticed that another connection is gone, and return the first frame's code."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                async with listen(exchange, token) as socket:
                    return str((await frame(socket))["order-status"])
            except InvalidStatus:
                await asyncio.sleep(0.01)


async def test_the_first_frame_is_a_greeting_with_blank_order_data(exchange: ExchangeProcess, wire: WireClient) -> None:
    async with listen(exchange, wire.tokens["jwtToken"]) as socket:
        greeting = await frame(socket)
        assert socket.response is not None
        assert socket.response.headers["X-Paper-Exchange"] == "sauda"
    assert (greeting["order-status"], greeting["status-code"]) == ("AB00", "200")
    assert greeting["user-id"] == wire.client.client_code
    assert greeting["orderData"]["orderstatus"] == ""


async def test_every_change_and_every_partial_fill_is_told_with_its_figures(
    exchange: ExchangeProcess, wire: WireClient
) -> None:
    async with listen(exchange, wire.tokens["jwtToken"]) as socket:
        await frame(socket)
        order_id = await wire.placed(LIMIT_BUY)
        assert await frames_until(socket, "AB01") == [("AB09", "open pending", "0"), ("AB01", "open", "0")]
        exchange.print_price("149.00", volume=16)
        exchange.print_price("149.00", volume=16)
        await wire.post(f"{SECURE}/order/v1/modifyOrder", {**LIMIT_BUY, "orderid": order_id, "price": "140.00"})
        await wire.post(f"{SECURE}/order/v1/cancelOrder", {"variety": "NORMAL", "orderid": order_id})
        assert await frames_until(socket, "AB02") == [
            ("AB01", "open", "4"),
            ("AB01", "open", "8"),
            ("AB04", "open", "8"),
            ("AB01", "open", "8"),
            ("AB02", "cancelled", "8"),
        ]


async def test_a_stop_tells_when_it_is_armed_triggered_and_done(exchange: ExchangeProcess, wire: WireClient) -> None:
    async with listen(exchange, wire.tokens["jwtToken"]) as socket:
        await frame(socket)
        await wire.placed(STOP_SELL)
        exchange.print_price("147.00")
        codes = [code for code, _, _ in await frames_until(socket, "AB05")]
    assert codes == ["AB09", "AB10", "AB01", "AB05"]


async def test_an_update_has_the_tag_and_the_average_price_as_a_number(
    exchange: ExchangeProcess, wire: WireClient
) -> None:
    async with listen(exchange, wire.tokens["jwtToken"]) as socket:
        await frame(socket)
        await wire.placed(MARKET_BUY)
        await frame(socket)
        await frame(socket)
        data = (await frame(socket))["orderData"]
        assert (data["ordertag"], data["averageprice"], data["filledshares"]) == ("SDTAG", 150.0, "10")
        exchange.control("POST", "/control/tag-echo", {"mode": "none"})
        await wire.placed(MARKET_BUY)
        assert (await frame(socket))["orderData"]["ordertag"] == ""


@pytest.mark.parametrize(("mode", "tag"), [("book", "SDTAG"), ("details", "SDTAG"), ("none", "")])
async def test_updates_give_the_tag_back_in_all_modes_but_none(
    exchange: ExchangeProcess, wire: WireClient, mode: str, tag: str
) -> None:
    exchange.control("POST", "/control/tag-echo", {"mode": mode})
    async with listen(exchange, wire.tokens["jwtToken"]) as socket:
        await frame(socket)
        await wire.placed(LIMIT_BUY)
        assert [(await frame(socket))["orderData"]["ordertag"] for _ in range(2)] == [tag, tag]


async def test_a_client_hears_only_of_its_own_orders(exchange: ExchangeProcess, wire: WireClient) -> None:
    other = WireClient(wire.http, exchange.add_client(PaperClient(client_code=f"U{next(_codes)}")))
    await other.login()
    async with listen(exchange, other.tokens["jwtToken"]) as socket:
        await frame(socket)
        await wire.placed(MARKET_BUY)
        own = await other.placed(LIMIT_BUY)
        assert (await frame(socket))["orderData"]["orderid"] == own


async def test_a_text_ping_is_answered(exchange: ExchangeProcess, wire: WireClient) -> None:
    async with listen(exchange, wire.tokens["jwtToken"]) as socket:
        await frame(socket)
        await socket.send("ping")
        assert await asyncio.wait_for(socket.recv(), WAIT_S) == "pong"
        await asyncio.wait_for(await socket.ping(), WAIT_S)


@pytest.mark.parametrize("token", ["", "nonsense"])
async def test_without_a_valid_token_the_upgrade_is_refused(
    exchange: ExchangeProcess, wire: WireClient, token: str
) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        async with listen(exchange, token):
            pass
    assert refusal.value.response.status_code == 401
    assert refusal.value.response.headers["x-error-message"]


@pytest.mark.parametrize(
    ("kind", "ops", "status"),
    [("token_expired", "place", 403), ("throttle_403", "socket", 403), ("http_5xx", "socket", 502)],
)
async def test_an_expired_token_or_a_fault_refuses_the_upgrade(
    exchange: ExchangeProcess, wire: WireClient, kind: str, ops: str, status: int
) -> None:
    exchange.control("PUT", "/control/faults", {"seed": 1, "rules": [{"kind": kind, "ops": [ops]}]})
    await wire.post(f"{SECURE}/order/v1/placeOrder", LIMIT_BUY)
    with pytest.raises(InvalidStatus) as refusal:
        async with listen(exchange, wire.tokens["jwtToken"]):
            pass
    assert refusal.value.response.status_code == status


async def test_a_fourth_connection_is_refused_until_one_closes(exchange: ExchangeProcess, wire: WireClient) -> None:
    token = wire.tokens["jwtToken"]
    async with listen(exchange, token), listen(exchange, token):
        async with listen(exchange, token):
            with pytest.raises(InvalidStatus) as refusal:
                async with listen(exchange, token):
                    pass
            assert refusal.value.response.status_code == 429
        assert await greeting_once_there_is_room(exchange, token) == "AB00"


async def test_a_logout_closes_the_connection(exchange: ExchangeProcess, wire: WireClient) -> None:
    async with listen(exchange, wire.tokens["jwtToken"]) as socket:
        await frame(socket)
        await wire.post(f"{SECURE}/user/v1/logout", {"clientcode": wire.client.client_code})
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), WAIT_S)


@pytest.mark.parametrize(
    ("rule", "codes"),
    [
        ({"kind": "drop_update", "limit": 1}, ["AB01", "AB05"]),
        ({"kind": "duplicate_update", "limit": 1}, ["AB09", "AB09", "AB01", "AB05"]),
        ({"kind": "delay_update", "limit": 1, "delay_ms": 200}, ["AB01", "AB05", "AB09"]),
    ],
)
async def test_updates_can_be_dropped_doubled_and_delayed_past_others(
    exchange: ExchangeProcess, wire: WireClient, rule: dict[str, object], codes: list[str]
) -> None:
    exchange.control("PUT", "/control/faults", {"seed": 1, "rules": [rule | {"ops": ["socket"]}]})
    async with listen(exchange, wire.tokens["jwtToken"]) as socket:
        await frame(socket)
        await wire.placed(MARKET_BUY)
        assert [(await frame(socket))["order-status"] for _ in codes] == codes
