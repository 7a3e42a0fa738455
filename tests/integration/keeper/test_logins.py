"""Logins by the keeper against the real exchange: beside each other, never hammering, and exactly one order after."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from app.bootstrap import keeper, worker
from app.brokers.angelone.adapter import AngelOneBroker
from app.core.errors import LoginRefused
from app.core.orders import OrderType
from app.core.ports import BrokerSession
from app.keeper import account_watch
from app.services.broker_sessions import BrokerSessions
from tests.harness.desk import Desk, running
from tests.harness.market import Market
from tests.harness.queue import eventually
from tests.integration.keeper.test_watches import ledger, until_logged_in, until_status


@pytest.fixture
async def roles(trading: Desk) -> AsyncIterator[Desk]:
    async with running(keeper.run, trading.base.config), running(worker.run, trading.base.config):
        yield trading


async def session_state(desk: Desk, name: str = "paper") -> str:
    rows = await desk.rows(
        "SELECT state FROM broker_sessions s JOIN broker_accounts a ON a.id = s.account_id WHERE a.name = :n", n=name
    )
    return str(rows[0]["state"]) if rows else ""


async def until_state(desk: Desk, state: str) -> None:
    async def reached() -> bool:
        return await session_state(desk) == state

    await eventually(reached, timeout_s=30)


async def test_a_broker_that_never_answers_a_login_keeps_no_other_account_out(
    trading: Desk, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = await trading.add_account("aaa-first-by-name")
    ordinary = AngelOneBroker.login
    asked = asyncio.Event()

    async def login(broker: AngelOneBroker) -> BrokerSession:
        if broker._credentials.client_code == slow.client_code:
            asked.set()
            await asyncio.Event().wait()
        await asked.wait()
        return await ordinary(broker)

    monkeypatch.setattr(AngelOneBroker, "login", login)
    async with running(keeper.run, trading.base.config), running(worker.run, trading.base.config):
        await until_logged_in(trading)
        answer = await trading.place()
        await until_status(trading, answer.order_id, "COMPLETE")
        assert await session_state(trading, "aaa-first-by-name") != "LOGGED_IN"


async def test_a_refused_login_is_tried_three_times_and_then_waits_for_a_person(
    trading: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = BrokerSessions.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "refused_waits_s", (0.1, 0.2))
    ordinary = AngelOneBroker.login
    tries: list[str] = []
    wrong = True

    async def login(broker: AngelOneBroker) -> BrokerSession:
        tries.append(broker._credentials.client_code)
        if wrong:
            raise LoginRefused("Invalid client code or PIN", broker_code="AB1000", configuration=True)
        return await ordinary(broker)

    monkeypatch.setattr(AngelOneBroker, "login", login)
    async with running(keeper.run, trading.base.config):
        await until_state(trading, "BROKEN")
        late = await trading.add_account("late")

        async def turned() -> bool:
            return late.client_code in tries

        await eventually(turned, timeout_s=30)  # the keeper's turns go on
        own = (await trading.account_named()).client_code
        assert tries.count(own) == 3
        (alert,) = await trading.rows(
            "SELECT subject FROM alerts WHERE kind = 'SESSION_BROKEN' AND closed_at IS NULL"
            " AND account_id = (SELECT id FROM broker_accounts WHERE name = 'paper')"
        )
        wrong = False
        async with trading.uow.transaction() as tx:
            await tx.sessions.allow_again((await trading.account_named()).id)
        await until_state(trading, "LOGGED_IN")
        assert tries.count(own) == 4
        assert not await trading.rows(
            "SELECT 1 FROM alerts WHERE closed_at IS NULL AND kind = 'SESSION_BROKEN' AND subject = :s",
            s=alert["subject"],
        )


async def test_a_token_that_dies_under_an_order_means_a_new_session_and_one_order(roles: Desk, market: Market) -> None:
    await until_logged_in(roles)
    market.faults({"kind": "token_expired", "probability": 1.0, "ops": ["place"], "limit": 1})
    answer = await roles.place()
    await until_status(roles, answer.order_id, "COMPLETE")
    assert ledger(market, (await roles.account_named()).client_code)["orders"] == 1
    events = await roles.events(answer.order_id)
    assert events[:4] == ["CREATED", "CLAIMED", "NOT_SENT", "CLAIMED"]
    (session,) = await roles.rows("SELECT version, state FROM broker_sessions")
    assert (session["version"], session["state"]) == (2, "LOGGED_IN")


async def test_a_session_that_is_over_at_midnight_is_followed_by_a_login(roles: Desk) -> None:
    await until_logged_in(roles)
    await roles.execute("UPDATE broker_sessions SET expires_at = clock_timestamp(), next_login_at = NULL")

    async def again() -> bool:
        (row,) = await roles.rows("SELECT version, expires_at > now() AS live FROM broker_sessions")
        return bool(row["version"] == 2 and row["live"])

    await eventually(again, timeout_s=30)


async def test_a_hint_makes_the_keeper_read_what_the_stream_has_lost(
    roles: Desk, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account_watch, "CATCH_UP_EVERY_S", 3600.0)
    await until_logged_in(roles)
    resting = await roles.place(order_type=OrderType.LIMIT, price=Decimal("180.00"))
    await until_status(roles, resting.order_id, "PLACED")
    market.faults({"kind": "drop_update", "probability": 1.0, "ops": ["any"]})
    market.print_price("179.90")
    account = await roles.account_named()

    async def hinted() -> bool:
        await roles.base.bell.hint(str(account.id), once_in_ms=500)
        return await roles.status(resting.order_id) == "COMPLETE"

    await eventually(hinted, timeout_s=30)
    await roles.base.redis.publish("sauda:hints", b"no account id")
