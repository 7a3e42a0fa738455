"""The exchange is killed and comes back with everything that it had acknowledged."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.harness.exchange import PROJECT_ROOT, ExchangeProcess, write_instruments
from tests.harness.smartapi import LIMIT_BUY, MARKET_BUY, SECURE, STOP_SELL, WireClient


@pytest.fixture
def own_exchange() -> Iterator[ExchangeProcess]:
    """An exchange that the test may kill."""
    process = ExchangeProcess()
    yield process
    process.stop()


@pytest.fixture
async def wire(own_exchange: ExchangeProcess) -> AsyncIterator[WireClient]:
    client = own_exchange.add_client()
    async with httpx.AsyncClient(base_url=own_exchange.url, timeout=5) as http:
        wire = WireClient(http, client)
        await wire.login()
        yield wire


async def test_a_kill_loses_no_book_session_cash_or_price(own_exchange: ExchangeProcess, wire: WireClient) -> None:
    own_exchange.print_price("150.00", volume=64)
    await wire.placed(MARKET_BUY)
    resting = await wire.placed(LIMIT_BUY)
    stop = await wire.placed(STOP_SELL)
    before = own_exchange.ledger()
    book, trades = await wire.book(), await wire.trades()
    own_exchange.restart()
    assert own_exchange.ledger() == before
    assert (await wire.book(), await wire.trades()) == (book, trades)
    await wire.placed(MARKET_BUY)
    assert (await wire.trades())[-1]["fillsize"] == "6", "the budget of the last price outlives the kill"
    own_exchange.print_price("147.00")
    after = await wire.book()
    assert [after[order]["orderstatus"] for order in (resting, stop)] == ["complete", "complete"]
    (position,) = (await wire.get(f"{SECURE}/order/v1/getPosition")).json()["data"]
    assert (position["netqty"], position["buyqty"], position["sellqty"]) == ("20", "30", "10")


async def test_dead_sessions_stay_dead_and_clock_and_tag_echo_stay_set_after_a_kill(
    own_exchange: ExchangeProcess, wire: WireClient
) -> None:
    dead = dict(wire.tokens)
    rule = {"kind": "token_expired", "ops": ["order_book"], "limit": 1}
    own_exchange.control("PUT", "/control/faults", {"seed": 1, "rules": [rule]})
    assert (await wire.get(f"{SECURE}/order/v1/getOrderBook")).json()["errorCode"] == "AG8002"
    own_exchange.control("POST", "/control/tag-echo", {"mode": "details"})
    shifted = own_exchange.control("POST", "/control/clock", {"offset_ms": 3_600_000})["time"]
    own_exchange.restart()
    assert own_exchange.control("GET", "/control/faults")["rules"] == [], "a restarted exchange is a healthy one"
    wire.tokens = dead
    assert (await wire.place(LIMIT_BUY))["errorCode"] == "AG8002"
    await wire.login()
    order = await wire.placed(LIMIT_BUY)
    assert "ordertag" not in (await wire.book())[order]
    (known,) = own_exchange.ledger()["orders"]  # type: ignore[misc]
    assert known["received_at"] > shifted


async def test_held_orders_and_taken_steps_outlive_a_kill(own_exchange: ExchangeProcess, wire: WireClient) -> None:
    own_exchange.control("POST", "/control/mode", {"mode": "lockstep"})
    first = await wire.step(1, "2019-01-01T03:45:00+00:00", ("149.00", 16))
    held = await wire.placed(LIMIT_BUY)
    own_exchange.restart()
    assert await wire.step(1, "2019-01-01T03:45:00+00:00", ("149.00", 16)) == first
    await wire.step(2, "2019-01-01T03:46:00+00:00", ("149.00", 16))
    assert (await wire.book())[held]["filledshares"] == "4"


async def test_what_was_acknowledged_before_a_kill_is_in_the_ledger(
    own_exchange: ExchangeProcess, wire: WireClient
) -> None:
    acknowledged: list[str] = []

    async def hammer() -> None:
        while True:
            acknowledged.append(await wire.placed(LIMIT_BUY))

    tasks = [asyncio.create_task(hammer()) for _ in range(4)]
    while len(acknowledged) < 200:
        await asyncio.wait(tasks, timeout=0.01, return_when=asyncio.FIRST_COMPLETED)
    own_exchange.kill()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, httpx.TransportError) for outcome in outcomes)
    own_exchange.start()
    orders = own_exchange.ledger()["orders"]
    assert isinstance(orders, list)
    assert set(acknowledged) <= {order["order_id"] for order in orders}


async def test_order_events_cannot_be_changed_or_deleted(own_exchange: ExchangeProcess, wire: WireClient) -> None:
    await wire.placed(LIMIT_BUY)
    ledger = sqlite3.connect(own_exchange.ledger_path)
    try:
        assert [row[0] for row in ledger.execute("SELECT event FROM order_events")] == ["accepted", "opened"]
        for statement in ("UPDATE order_events SET event = 'x'", "DELETE FROM order_events"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                ledger.execute(statement)
    finally:
        ledger.close()


async def test_a_ledger_that_fails_ends_the_process_instead_of_serving_from_memory(
    own_exchange: ExchangeProcess, wire: WireClient
) -> None:
    ledger = sqlite3.connect(own_exchange.ledger_path)
    try:
        ledger.execute("CREATE TRIGGER broken BEFORE INSERT ON orders BEGIN SELECT RAISE(ABORT, 'disk on fire'); END")
        answer = await wire.post(f"{SECURE}/order/v1/placeOrder", LIMIT_BUY)
        assert answer.status_code == 500
        assert own_exchange.wait() == 1
        ledger.execute("DROP TRIGGER broken")
        ledger.commit()
    finally:
        ledger.close()
    own_exchange.start()
    assert await wire.book() == {}


async def test_a_polite_stop_is_prompt_and_clean_even_with_listeners_and_held_answers(
    own_exchange: ExchangeProcess, wire: WireClient
) -> None:
    rule = {"kind": "timeout_after_accept", "ops": ["place"], "delay_ms": 60_000}
    own_exchange.control("PUT", "/control/faults", {"seed": 1, "rules": [rule]})
    token = {"Authorization": f"Bearer {wire.tokens['jwtToken']}"}
    async with connect(f"ws://127.0.0.1:{own_exchange.port}/smart-order-update", additional_headers=token, proxy=None):
        waiting = asyncio.create_task(wire.place(LIMIT_BUY))
        while not own_exchange.ledger()["orders"]:
            await asyncio.wait({waiting}, timeout=0.01)
        assert await asyncio.to_thread(own_exchange.terminate) == 0
    with pytest.raises(httpx.TransportError):
        await waiting


@pytest.mark.parametrize("wrong", ["port", "instruments", "ledger"])
def test_what_keeps_it_from_starting_is_one_line(own_exchange: ExchangeProcess, tmp_path: Path, wrong: str) -> None:
    paths = {
        "--instruments": str(write_instruments(tmp_path / "instruments.csv")),
        "--ledger": str(tmp_path / "ledger.sqlite3"),
        "--port": "1" if wrong != "port" else str(own_exchange.port),
    }
    if wrong == "instruments":
        paths["--instruments"] = str(tmp_path / "missing.csv")
    if wrong == "ledger":
        paths["--ledger"] = str(tmp_path)
    if wrong != "port":
        paths["--port"] = "0"
    command = [sys.executable, "-m", "app.exchange", *(word for pair in paths.items() for word in pair)]
    ended = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("paper exchange: ")
    assert len(ended.stderr.splitlines()) == 1
