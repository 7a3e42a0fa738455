"""The exchange is killed again and again amid orders, changes, cancels and prices, and its ledger stays true."""

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.harness.exchange import ExchangeProcess
from tests.harness.smartapi import LIMIT_BUY, SECURE, WireClient

KILLS = 3
WRITES_BETWEEN_KILLS = 100
TRADERS = 6
START_CASH = Decimal("1000000.00")


@pytest.fixture
def own_exchange() -> Iterator[ExchangeProcess]:
    process = ExchangeProcess()
    yield process
    process.stop()


@dataclass
class Trader:
    """Places, changes and cancels one order after another, and remembers what the exchange confirmed of each."""

    wire: WireClient
    chance: random.Random
    writes: int = 0
    confirmed_price: dict[str, str] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)

    async def trade(self) -> None:
        """Write until the exchange is gone."""
        with suppress(httpx.TransportError):
            while True:
                await self._one_order()

    async def _one_order(self) -> None:
        order_id = await self.wire.placed(LIMIT_BUY, price=self._price(), quantity=str(self.chance.randint(1, 40)))
        self.writes += 1
        if self.chance.random() < 0.7:
            price = self._price()
            if (await self._change("modifyOrder", order_id, price=price))["status"]:
                self.confirmed_price[order_id] = price
        if self.chance.random() < 0.4 and (await self._change("cancelOrder", order_id))["status"]:
            self.cancelled.add(order_id)

    async def _change(self, route: str, order_id: str, **changes: str) -> dict[str, Any]:
        body = LIMIT_BUY | {"orderid": order_id, "quantity": "40"} | changes
        answer: dict[str, Any] = (await self.wire.post(f"{SECURE}/order/v1/{route}", body)).json()
        self.writes += 1
        return answer

    def _price(self) -> str:
        return f"{self.chance.choice((148, 149, 150, 151, 152))}.00"


async def test_kills_under_load_leave_orders_cash_positions_and_sessions_consistent(
    own_exchange: ExchangeProcess,
) -> None:
    async with httpx.AsyncClient(base_url=own_exchange.url, timeout=5) as http:
        wire = WireClient(http, own_exchange.add_client())
        await wire.login()
        own_exchange.print_price("150.00", volume=100)
        traders = [Trader(wire, random.Random(number)) for number in range(TRADERS)]
        for _ in range(KILLS):
            await trade_until_killed(own_exchange, wire, traders)
            own_exchange.start()
            assert (await wire.get(f"{SECURE}/user/v1/getProfile")).json()["status"] is True, "the session lives on"
        own_exchange.print_price("100.00")

    testimony: dict[str, Any] = own_exchange.ledger()
    check_sums(testimony)
    check_promises(testimony, traders)


async def trade_until_killed(exchange: ExchangeProcess, wire: WireClient, traders: list[Trader]) -> None:
    """Let the traders and the prices run, and kill the exchange amid them."""
    enough = sum(trader.writes for trader in traders) + WRITES_BETWEEN_KILLS
    tasks = [asyncio.create_task(trader.trade()) for trader in traders]
    tasks.append(asyncio.create_task(move_prices(wire)))
    while sum(trader.writes for trader in traders) < enough:
        await asyncio.wait(tasks, timeout=0.005, return_when=asyncio.FIRST_EXCEPTION)
        assert not any(task.done() for task in tasks)
    exchange.kill()
    await asyncio.gather(*tasks)


async def move_prices(wire: WireClient) -> None:
    """Print one price after another until the exchange is gone."""
    with suppress(httpx.TransportError):
        for price in itertools.cycle(("150.00", "148.50", "149.50", "151.00")):
            await wire.print_price(price, 120)


def check_sums(testimony: dict[str, Any]) -> None:
    """Every order is the sum of its trades, and cash and position are the sums of all."""
    trades_of: dict[str, list[Any]] = defaultdict(list)
    for trade in testimony["trades"]:
        trades_of[trade["order_id"]].append(trade)
    for order in testimony["orders"]:
        own = trades_of.pop(order["order_id"], [])
        assert order["filled"] == sum(trade["quantity"] for trade in own)
        assert Decimal(order["traded_value"]) == sum(Decimal(trade["price"]) * trade["quantity"] for trade in own)
        assert order["filled"] <= order["quantity"]
        assert (order["status"] == "complete") == (order["filled"] == order["quantity"])
    assert not trades_of, "no trade without its order"

    paid = sum(
        (Decimal(trade["price"]) * trade["quantity"] + Decimal(trade["fees"]) for trade in testimony["trades"]),
        Decimal(0),
    )
    summary = testimony["summary"]
    assert Decimal(summary["cash"]) == START_CASH - paid
    assert sum(line["quantity"] for line in summary["positions"]) == sum(o["filled"] for o in testimony["orders"])
    assert (summary["orders"], summary["trades"]) == (len(testimony["orders"]), len(testimony["trades"]))
    assert summary["terminal"] == sum(order["status"] in ("complete", "cancelled") for order in testimony["orders"])


def check_promises(testimony: dict[str, Any], traders: list[Trader]) -> None:
    """What was confirmed before a kill is so after it."""
    orders = {order["order_id"]: order for order in testimony["orders"]}
    for trader in traders:
        for order_id in trader.cancelled:
            assert orders[order_id]["status"] == "cancelled"
        for order_id, price in trader.confirmed_price.items():
            assert orders[order_id]["price"] == price
