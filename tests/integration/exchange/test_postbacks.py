"""Postbacks: each change of an order once, to one address, and never at the market's cost."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.harness.broker_server import BrokerServer, broker_server, http_reply
from tests.harness.exchange import ControlError, ExchangeProcess, PaperClient
from tests.harness.smartapi import LIMIT_BUY, MARKET_BUY, WireClient

_codes = itertools.count(1)
WAIT_S = 5


class Receiver:
    """What came, in the order in which it came."""

    def __init__(self) -> None:
        self.bodies: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def take(self, server: BrokerServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            self.bodies.put_nowait(json.loads(await server.read_request(reader)))
            writer.write(http_reply(b""))

    async def next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.bodies.get(), WAIT_S)


@pytest.fixture
async def wire(exchange: ExchangeProcess) -> AsyncIterator[WireClient]:
    """A client of its own on the real exchange."""
    client = exchange.add_client(PaperClient(client_code=f"PB{next(_codes)}"))
    exchange.print_price("150.00")
    async with httpx.AsyncClient(base_url=exchange.url, timeout=5) as http:
        wire = WireClient(http, client)
        await wire.login()
        yield wire
        exchange.control("PUT", "/control/faults", {"seed": 0, "rules": []})
        exchange.control("POST", "/control/tag-echo", {"mode": "book"})
        exchange.control("POST", "/control/postback", {"url": ""})


@pytest.fixture
async def receiver(exchange: ExchangeProcess) -> AsyncIterator[Receiver]:
    received = Receiver()
    async with broker_server(lambda server: lambda r, w: received.take(server, r, w)) as server:
        exchange.control("POST", "/control/postback", {"url": f"{server.url}/postback"})
        yield received


async def test_each_change_of_an_order_is_posted_with_its_figures(receiver: Receiver, wire: WireClient) -> None:
    order = await wire.placed(MARKET_BUY)
    told = [await receiver.next() for _ in range(3)]
    assert [row["orderstatus"] for row in told] == ["open pending", "open", "complete"]
    assert {(row["orderid"], row["clientcode"], row["ordertag"]) for row in told} == {
        (order, wire.client.client_code, "SDTAG")
    }
    assert told[-1]["filledshares"] == "10"


@pytest.mark.parametrize(("mode", "tag"), [("book", "SDTAG"), ("details", "SDTAG"), ("none", "")])
async def test_the_tag_is_given_back_unless_nothing_gives_it_back(
    exchange: ExchangeProcess, receiver: Receiver, wire: WireClient, mode: str, tag: str
) -> None:
    exchange.control("POST", "/control/tag-echo", {"mode": mode})
    await wire.placed(LIMIT_BUY)
    assert (await receiver.next())["ordertag"] == tag


async def test_faults_drop_and_double_postbacks_and_leave_the_socket_alone(
    exchange: ExchangeProcess, receiver: Receiver, wire: WireClient
) -> None:
    rules = [
        {"kind": "drop_update", "ops": ["postback"], "limit": 1},
        {"kind": "duplicate_update", "ops": ["postback"], "limit": 1},
    ]
    exchange.control("PUT", "/control/faults", {"seed": 1, "rules": rules})
    await wire.placed(MARKET_BUY)
    told = [await receiver.next() for _ in range(3)]
    assert [row["orderstatus"] for row in told] == ["open", "open", "complete"]


async def test_a_delayed_postback_comes_all_the_same(
    exchange: ExchangeProcess, receiver: Receiver, wire: WireClient
) -> None:
    rules = [{"kind": "delay_update", "ops": ["postback"], "delay_ms": 100, "limit": 1}]
    exchange.control("PUT", "/control/faults", {"seed": 1, "rules": rules})
    await wire.placed(LIMIT_BUY)
    assert [(await receiver.next())["orderstatus"] for _ in range(2)] == ["open", "open pending"]


async def test_a_receiver_that_is_away_or_silent_keeps_no_order_waiting(
    exchange: ExchangeProcess, wire: WireClient
) -> None:
    exchange.control("POST", "/control/postback", {"url": "http://127.0.0.1:1/nobody"})
    await wire.placed(MARKET_BUY)

    async def say_nothing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with broker_server(lambda _server: say_nothing) as silent:
        exchange.control("POST", "/control/postback", {"url": silent.url})
        async with asyncio.timeout(WAIT_S):
            for _ in range(400):
                await wire.placed(MARKET_BUY)
    summary = exchange.ledger(wire.client.client_code)["summary"]
    assert isinstance(summary, dict)
    assert summary["orders"] == 401


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/", "127.0.0.1", "http://", "http://\x00", "http://" + "a" * 500, 5, None]
)
def test_an_address_that_cannot_be_posted_to_is_refused(exchange: ExchangeProcess, url: object) -> None:
    with pytest.raises(ControlError) as refused:
        exchange.control("POST", "/control/postback", {"url": url})
    assert refused.value.status == 422
