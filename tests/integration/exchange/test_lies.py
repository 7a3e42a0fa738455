"""What the exchange tells wrongly on purpose: lagging books, odd bodies, updates out of order."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.exchange.faults import FaultKind, FaultRule, Faults, Op
from app.exchange.spoilt_answers import UNKNOWN_STATUSES
from tests.harness.exchange import ExchangeProcess, PaperClient
from tests.harness.smartapi import LIMIT_BUY, MARKET_BUY, SECURE, WireClient
from tests.integration.exchange.conftest import Desk
from tests.integration.exchange.test_order_updates import frame, frames_until, listen

_codes = itertools.count(1)
LAG = {"kind": "lagging_book", "delay_ms": 2000}


async def lie(wire: WireClient, *rules: dict[str, object], seed: int = 1) -> None:
    answer = await wire.control("PUT", "/control/faults", {"seed": seed, "rules": rules})
    assert answer.status_code == 200, answer.text


async def fired(wire: WireClient) -> list[int]:
    rules = (await wire.control("GET", "/control/faults")).json()["rules"]
    return [rule["fired"] for rule in rules]


async def test_a_lagging_order_book_misses_young_orders_and_shows_old_ones_as_they_were(
    desk: Desk, wire: WireClient
) -> None:
    old = await wire.placed(LIMIT_BUY)
    await wire.print_price("149.00", 16)
    desk.now += timedelta(seconds=3)
    await wire.print_price("149.00", 8)
    young = await wire.placed(LIMIT_BUY, price="140.00")
    await wire.post(f"{SECURE}/order/v1/cancelOrder", {"variety": "NORMAL", "orderid": old})

    await lie(wire, LAG | {"ops": ["order_book"]})
    lagging = await wire.book()
    assert {key: (row["orderstatus"], row["filledshares"]) for key, row in lagging.items()} == {old: ("open", "4")}
    assert lagging[old]["averageprice"] == "149.00"
    assert len(await wire.trades()) == 2, "the trade book is another read"

    desk.now += timedelta(seconds=3)
    assert {key: row["orderstatus"] for key, row in (await wire.book()).items()} == {old: "cancelled", young: "open"}
    assert await fired(wire) == [2]


async def test_a_lagging_trade_book_misses_young_trades(desk: Desk, wire: WireClient) -> None:
    await wire.print_price("149.00")
    first = await wire.placed(MARKET_BUY)
    desk.now += timedelta(seconds=3)
    second = await wire.placed(MARKET_BUY)
    await lie(wire, LAG | {"ops": ["books"]})
    assert [row["orderid"] for row in await wire.trades()] == [first]
    desk.now += timedelta(seconds=3)
    assert [row["orderid"] for row in await wire.trades()] == [first, second]


async def test_one_row_has_a_status_that_nobody_knows_and_the_next_reading_is_right(wire: WireClient) -> None:
    orders = [await wire.placed(LIMIT_BUY) for _ in range(3)]
    await lie(wire, {"kind": "unknown_status", "ops": ["any"], "limit": 1})
    statuses = [row["orderstatus"] for row in (await wire.book()).values()]
    assert sorted(status in UNKNOWN_STATUSES for status in statuses) == [False, False, True]
    assert {row["orderstatus"] for row in (await wire.book()).values()} == {"open"}
    assert len(orders) == 3


async def test_an_oddly_dressed_answer_says_the_same(wire: WireClient) -> None:
    await wire.print_price("149.00", 16)
    order = await wire.placed(LIMIT_BUY)
    plain_row = (await wire.book())[order]
    await lie(wire, {"kind": "odd_body", "ops": ["any"]})
    odd_row = (await wire.book())[order]
    assert set(odd_row) > set(plain_row)
    assert (odd_row["filledshares"], odd_row["price"]) == (4, 149.0)
    assert [row["fillprice"] for row in await wire.trades()] == [149.0]
    assert (await wire.place(LIMIT_BUY))["data"]["orderid"]


async def test_every_variant_of_a_malformed_body_comes_up_and_none_can_be_taken_for_an_empty_book(
    wire: WireClient,
) -> None:
    await wire.placed(LIMIT_BUY)
    await lie(wire, {"kind": "malformed_body", "ops": ["order_book"]})
    seen = set()
    for _ in range(60):
        body = (await wire.get(f"{SECURE}/order/v1/getOrderBook")).text
        seen.add(body)
        try:
            told = json.loads(body)
        except (ValueError, RecursionError):
            continue
        assert not isinstance(told, dict) or told.get("status") is not True or told["data"] == "OK"
    assert len(seen) == 7


async def test_a_gateway_can_fail_after_the_order_went_through(wire: WireClient) -> None:
    await lie(wire, {"kind": "http_5xx_after_accept", "ops": ["place", "cancel"]})
    answer = await wire.post(f"{SECURE}/order/v1/placeOrder", LIMIT_BUY)
    assert answer.status_code == 502
    (order,) = await wire.book()
    known = (await wire.control("GET", "/control/ledger/P100")).json()["orders"]
    assert [row["acknowledged"] for row in known] == [False]
    answer = await wire.post(f"{SECURE}/order/v1/cancelOrder", {"variety": "NORMAL", "orderid": order})
    assert answer.status_code == 502
    assert (await wire.book())[order]["orderstatus"] == "cancelled"


@pytest.mark.parametrize("op", ["modify", "cancel"])
async def test_a_change_whose_answer_is_lost_has_been_made(
    exchange: ExchangeProcess, socket_wire: WireClient, op: str
) -> None:
    order = await socket_wire.placed(LIMIT_BUY)
    exchange.control("PUT", "/control/faults", {"seed": 1, "rules": [{"kind": "drop_after_accept", "ops": [op]}]})
    body = LIMIT_BUY | {"orderid": order, "price": "148.00"}
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        await socket_wire.post(f"{SECURE}/order/v1/{op}Order", body)
    row = (await socket_wire.book())[order]
    assert (row["price"], row["orderstatus"]) == (("148.00", "open") if op == "modify" else ("149.00", "cancelled"))


def test_a_storm_hits_every_request_until_it_is_over() -> None:
    now = 100.0
    faults = Faults(monotonic=lambda: now)
    storm = FaultRule(kind=FaultKind.THROTTLE_403, probability=0.05, ops=frozenset({Op.ANY}), duration_ms=3000, limit=1)
    faults.configure(3, [storm])
    while faults.for_request(Op.PLACE) is None:
        pass
    now += 2.9
    assert all(faults.for_request(Op.BOOKS) for _ in range(50))
    now += 0.2
    assert not any(faults.for_request(Op.PLACE) for _ in range(500)), "the limit counts storms"
    assert (storm.strikes, storm.fired) == (1, 51)


def test_faults_of_books_spare_requests_that_have_no_rows() -> None:
    faults = Faults()
    rule = FaultRule(kind=FaultKind.LAGGING_BOOK, probability=1, ops=frozenset({Op.ANY}), delay_ms=1)
    faults.configure(1, [rule])
    assert [op for op in Op if faults.for_request(op)] == [Op.ORDER_BOOK, Op.TRADE_BOOK]
    assert rule.fired == 2


@pytest.fixture
async def socket_wire(exchange: ExchangeProcess) -> AsyncIterator[WireClient]:
    """A client of its own on the real exchange, which has a socket of order updates."""
    client = exchange.add_client(PaperClient(client_code=f"L{next(_codes)}"))
    # What tests before this one left resting would take its share of the small prints.
    for price in ("1.00", "150.00"):
        exchange.print_price(price)
    async with httpx.AsyncClient(base_url=exchange.url, timeout=5) as http:
        wire = WireClient(http, client)
        await wire.login()
        yield wire
        exchange.control("PUT", "/control/faults", {"seed": 0, "rules": []})


async def test_an_update_that_is_reordered_comes_after_a_later_one(
    exchange: ExchangeProcess, socket_wire: WireClient
) -> None:
    rule = {"kind": "reorder_update", "limit": 1, "ops": ["socket"]}
    exchange.control("PUT", "/control/faults", {"seed": 1, "rules": [rule]})
    async with listen(exchange, socket_wire.tokens["jwtToken"]) as socket:
        await frame(socket)
        await socket_wire.placed(MARKET_BUY)
        assert [(await frame(socket))["order-status"] for _ in range(3)] == ["AB01", "AB09", "AB05"]


async def test_a_reordered_update_without_a_later_one_is_not_lost(
    exchange: ExchangeProcess, socket_wire: WireClient
) -> None:
    rule = {"kind": "reorder_update", "ops": ["socket"]}
    exchange.control("PUT", "/control/faults", {"seed": 1, "rules": [rule]})
    async with listen(exchange, socket_wire.tokens["jwtToken"]) as socket:
        await frame(socket)
        await socket_wire.placed(MARKET_BUY)
        codes = [(await frame(socket))["order-status"] for _ in range(3)]
    assert sorted(codes) == ["AB01", "AB05", "AB09"]


async def test_drop_one_fill_drops_the_fill_and_nothing_else(
    exchange: ExchangeProcess, socket_wire: WireClient
) -> None:
    async with listen(exchange, socket_wire.tokens["jwtToken"]) as socket:
        await frame(socket)
        await socket_wire.placed(LIMIT_BUY)
        rule = {"kind": "drop_fill_update", "limit": 1, "ops": ["socket"]}
        exchange.control("PUT", "/control/faults", {"seed": 1, "rules": [rule]})
        for _ in range(2):
            exchange.print_price("149.00", volume=16)
        exchange.print_price("149.00")
        told = await frames_until(socket, "AB05")
    assert told == [
        ("AB09", "open pending", "0"),
        ("AB01", "open", "0"),
        ("AB01", "open", "8"),
        ("AB05", "complete", "10"),
    ]
    assert len(await socket_wire.trades()) == 3


async def test_an_update_can_carry_a_status_that_nobody_knows(
    exchange: ExchangeProcess, socket_wire: WireClient
) -> None:
    rule = {"kind": "unknown_status", "limit": 1, "ops": ["socket"]}
    exchange.control("PUT", "/control/faults", {"seed": 1, "rules": [rule]})
    async with listen(exchange, socket_wire.tokens["jwtToken"]) as socket:
        await frame(socket)
        order = await socket_wire.placed(LIMIT_BUY)
        told: dict[str, Any] = await asyncio.wait_for(frame(socket), 5)
        assert told["orderData"]["orderid"] == order
        assert told["orderData"]["orderstatus"] in UNKNOWN_STATUSES
        assert (await frame(socket))["orderData"]["orderstatus"] == "open"
