"""Logins and order updates against the real exchange: every trade comes into the books, whatever gets lost."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from decimal import Decimal
from uuid import UUID

import pytest

from app.bootstrap import keeper, worker
from app.bootstrap.paper import paper_accounts
from app.bootstrap.trading import broker_pool
from app.brokers.base import AccountCredentials
from app.core.orders import OrderType, Side
from app.core.ports import Broker
from app.keeper import account_watch
from tests.harness.desk import Desk, running
from tests.harness.market import Market
from tests.harness.queue import eventually


@pytest.fixture
async def roles(trading: Desk) -> AsyncIterator[Desk]:
    async with running(keeper.run, trading.base.config), running(worker.run, trading.base.config):
        yield trading


async def until_status(desk: Desk, order_id: UUID | None, *statuses: str) -> None:
    async def reached() -> bool:
        return await desk.status(order_id) in statuses

    await eventually(reached, timeout_s=30)


async def until_logged_in(desk: Desk, name: str = "paper") -> None:
    async def is_in() -> bool:
        rows = await desk.rows(
            "SELECT state FROM broker_sessions s JOIN broker_accounts a ON a.id = s.account_id WHERE a.name = :n",
            n=name,
        )
        return [row["state"] for row in rows] == ["LOGGED_IN"]

    await eventually(is_in, timeout_s=30)


def ledger(market: Market, client_code: str) -> dict[str, object]:
    return market.control("GET", f"ledger/{client_code}/summary")


async def test_a_saved_order_whose_bell_was_lost_is_placed_and_filled_and_our_books_equal_the_exchanges(
    roles: Desk, market: Market
) -> None:
    answer = await roles.place(quantity=30)
    await until_status(roles, answer.order_id, "COMPLETE")
    order = await roles.order(answer.order_id)
    assert (order.filled_quantity, order.stages.first_fill is not None) == (30, True)
    sale = await roles.place(quantity=10, side=Side.SELL)
    await until_status(roles, sale.order_id, "COMPLETE")
    theirs = ledger(market, (await roles.account_named()).client_code)
    async with roles.uow.statement() as tx:
        totals = await tx.positions.totals((await roles.account_named()).id)
        fills = await tx.fills.count((await roles.account_named()).id)
    assert (theirs["orders"], theirs["trades"]) == (2, fills)
    assert totals.realized_pnl == Decimal(str(theirs["realized_pnl"]))
    assert totals.fees == Decimal(str(theirs["fees"])) > 0


async def test_drop_one_fill(roles: Desk, market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream loses its messages without a sign: the books are read all the same."""
    monkeypatch.setattr(account_watch, "CATCH_UP_EVERY_S", 0.5)
    await until_logged_in(roles)
    market.faults({"kind": "drop_update", "probability": 1.0, "ops": ["any"]})
    answers = [await roles.place() for _ in range(5)]
    for answer in answers:
        await until_status(roles, answer.order_id, "COMPLETE")
    assert await roles.count("fills") == ledger(market, (await roles.account_named()).client_code)["trades"]


async def test_repeated_and_late_updates_change_nothing(roles: Desk, market: Market) -> None:
    await until_logged_in(roles)
    market.faults(
        {"kind": "duplicate_update", "probability": 1.0, "ops": ["any"]},
        {"kind": "delay_update", "probability": 0.5, "ops": ["any"], "delay_ms": 50},
    )
    answers = [await roles.place() for _ in range(5)]
    for answer in answers:
        await until_status(roles, answer.order_id, "COMPLETE")
        events = await roles.events(answer.order_id)
        assert events.count("FULL_FILL") == 1
        assert events.count("ACCEPTED") <= 2  # once by the answer, once where the stream was quicker
    assert await roles.count("fills") == ledger(market, (await roles.account_named()).client_code)["trades"]


async def test_an_order_whose_answer_was_lost_is_settled_by_its_tag_and_sent_once(roles: Desk, market: Market) -> None:
    await until_logged_in(roles)
    market.faults({"kind": "drop_after_accept", "probability": 1.0, "ops": ["place"], "limit": 1})
    answer = await roles.place()
    await until_status(roles, answer.order_id, "COMPLETE")
    assert ledger(market, (await roles.account_named()).client_code)["orders"] == 1


async def test_dead_token_not_flat(roles: Desk, market: Market) -> None:
    """A session that dies under open positions means a new login, not an empty account."""
    await until_logged_in(roles)
    bought = await roles.place(quantity=20)
    await until_status(roles, bought.order_id, "COMPLETE")
    market.faults({"kind": "token_expired", "probability": 1.0, "ops": ["books", "place"], "limit": 3})
    sold = await roles.place(quantity=5, side=Side.SELL)
    await until_status(roles, sold.order_id, "COMPLETE")
    (position,) = await roles.rows("SELECT quantity FROM positions")
    assert position["quantity"] == 15
    assert ledger(market, (await roles.account_named()).client_code)["orders"] == 2
    (session,) = await roles.rows("SELECT version, state FROM broker_sessions")
    assert session["version"] >= 2
    assert session["state"] == "LOGGED_IN"


async def test_a_wrong_pin_ends_as_broken_after_three_tries_and_no_more(trading: Desk, market: Market) -> None:
    account = await trading.account_named()
    async with trading.uow.statement() as tx:
        stored = await tx.accounts.stored(account.id)
    assert stored is not None
    right = AccountCredentials(**json.loads(trading.base.vault.decrypt(stored.credentials)))
    await paper_accounts(trading.base, trading.market).open_at_exchange(account.id)
    wrong = {**asdict(right), "pin": "0000" if right.pin != "0000" else "1111"}
    sealed = trading.base.vault.encrypt(json.dumps(wrong))
    pool, sessions = broker_pool(trading.base)
    await trading.execute("UPDATE broker_accounts SET credentials = :c", c=sealed)
    lease = await trading.lease()

    async def connect() -> Broker:
        return (await pool.get(account.id)).broker

    try:
        for _ in range(5):
            await trading.execute("UPDATE broker_sessions SET next_login_at = NULL")
            assert not await sessions.log_in_where_needed(account.id, connect, lease)
    finally:
        await pool.close()
    (session,) = await trading.rows("SELECT state, failures, last_error FROM broker_sessions")
    assert (session["state"], session["failures"]) == ("BROKEN", 3)
    assert session["last_error"]


async def _has_session(desk: Desk, account_id: UUID) -> bool:
    rows = await desk.rows("SELECT state FROM broker_sessions WHERE account_id = :id", id=account_id)
    return [row["state"] for row in rows] == ["LOGGED_IN"]


async def test_an_account_that_cannot_be_read_keeps_nobody_else_out(trading: Desk) -> None:
    broken = await trading.add_account("aaa-first-by-name")
    await trading.execute("UPDATE broker_accounts SET credentials = 'x' WHERE id = :id", id=broken.id)
    async with running(keeper.run, trading.base.config):
        await until_logged_in(trading)
        assert not await _has_session(trading, broken.id)


async def test_an_account_whose_broker_nobody_knows_leaves_the_others_watched(roles: Desk, market: Market) -> None:
    await roles.add_account("aaa-first-by-name")
    await roles.execute("UPDATE broker_accounts SET broker = 'gone' WHERE name = 'aaa-first-by-name'")
    await until_logged_in(roles)
    answer = await roles.place()
    await until_status(roles, answer.order_id, "COMPLETE")


async def test_an_account_that_is_paused_is_watched_no_longer_and_a_new_one_is(roles: Desk) -> None:
    await until_logged_in(roles)
    await roles.add_account("late")
    await until_logged_in(roles, "late")
    await roles.pause(await roles.account_named("paper"))
    waiting = await roles.place(account="late")
    await until_status(roles, waiting.order_id, "COMPLETE")


async def test_a_paused_account_is_watched_until_none_of_its_orders_is_open(roles: Desk, market: Market) -> None:
    await until_logged_in(roles)
    resting = await roles.place(order_type=OrderType.LIMIT, price=Decimal("180.00"))
    await until_status(roles, resting.order_id, "PLACED")
    await roles.pause(await roles.account_named())
    await roles.add_account("late")
    await until_logged_in(roles, "late")  # a turn of the watches has seen the pause
    market.print_price("179.90")
    await until_status(roles, resting.order_id, "COMPLETE")


async def test_the_watch_comes_back_and_catches_up_after_the_exchange_was_killed(trading: Desk, market: Market) -> None:
    config = trading.base.config
    async with running(worker.run, config):
        async with running(keeper.run, config):
            await until_logged_in(trading)
            resting = await trading.place(order_type=OrderType.LIMIT, price=Decimal("180.00"))
            await until_status(trading, resting.order_id, "PLACED")
            market.process.restart()
            await asyncio.to_thread(market.until_up)
            market.print_price("179.90")  # it trades while nobody listens
            await until_status(trading, resting.order_id, "COMPLETE")
            after = await trading.place()
            await until_status(trading, after.order_id, "COMPLETE")
        unheard = await trading.place()
        await until_status(trading, unheard.order_id, "PENDING", "PLACED")
        async with running(keeper.run, config):
            await until_status(trading, unheard.order_id, "COMPLETE")
    assert ledger(market, (await trading.account_named()).client_code)["orders"] == 3
