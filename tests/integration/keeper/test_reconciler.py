"""Our books beside the real exchange's: what counts as a difference, what it blocks, and that nothing is corrected."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.bootstrap import keeper, worker
from app.bootstrap.trading import broker_pool
from app.core.accounts import Account
from app.core.orders import Purpose, Side
from app.keeper import account_reconciler
from app.keeper.account_reconciler import AccountReconciler, Rhythm
from app.services.reconciliation import Reconciliation
from app.services.reconciliation_reports import ReconciliationReports
from tests.harness.desk import Desk, running
from tests.harness.market import Market
from tests.harness.queue import eventually
from tests.integration.keeper.test_settling import by_hand, until_stored
from tests.integration.keeper.test_watches import until_logged_in, until_status

QUICK = Rhythm(
    look_every_s=0.2,
    book_every_s=0.4,
    suspect_every_s=0.2,
    trouble_every_s=0.2,
    settle_within_s=5.0,
    unreadable_after_s=1.0,
)


@pytest.fixture
async def roles(trading: Desk, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(account_reconciler, "Rhythm", lambda: QUICK)
    async with running(keeper.run, trading.base.config), running(worker.run, trading.base.config):
        yield trading


async def reports(desk: Desk, account: str = "paper") -> list[dict[str, Any]]:
    rows = await desk.rows(
        """SELECT r.* FROM reconciliations r JOIN broker_accounts a ON a.id = r.account_id
        WHERE a.name = :n ORDER BY r.id""",
        n=account,
    )
    return [dict(row) for row in rows]


async def until_verdict(
    desk: Desk, verdict: str, *, cause: str | None = None, account: str = "paper"
) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    async def is_last() -> bool:
        found[:] = [one for one in await reports(desk, account) if cause in (None, one["cause"])]
        return bool(found) and found[-1]["verdict"] == verdict

    await eventually(is_last, timeout_s=30)
    return found[-1]


async def blocks(desk: Desk) -> dict[str, list[str]]:
    rows = await desk.rows(
        "SELECT a.name, b.reason FROM account_blocks b JOIN broker_accounts a ON a.id = b.account_id ORDER BY b.reason"
    )
    blocked: dict[str, list[str]] = {}
    for row in rows:
        blocked.setdefault(row["name"], []).append(row["reason"])
    return blocked


async def open_alerts(desk: Desk) -> list[str]:
    return [row["kind"] for row in await desk.rows("SELECT kind FROM alerts WHERE closed_at IS NULL ORDER BY kind")]


async def cash_here_and_there(desk: Desk, market: Market, account: Account) -> tuple[Decimal, Decimal]:
    (row,) = await desk.rows(
        """SELECT b.opening_cash - b.flow_before + coalesce(sum(p.realized_pnl - p.open_cost - p.fees), 0) AS cash
        FROM balances b LEFT JOIN positions p USING (account_id) WHERE b.account_id = :id
        GROUP BY b.opening_cash, b.flow_before""",
        id=account.id,
    )
    return row["cash"], Decimal(str(market.control("GET", f"ledger/{account.client_code}/summary")["cash"]))


async def test_a_keeper_that_takes_the_lead_leaves_a_report_of_every_account(roles: Desk) -> None:
    await roles.add_account("late")
    for account in ("paper", "late"):
        report = await until_verdict(roles, "MATCH", cause="START", account=account)
        assert (report["differences"], report["error"]) == ([], None)
    assert await blocks(roles) == {}


async def test_our_cash_equals_the_exchanges_to_the_paisa_after_a_mix_of_fills(roles: Desk, market: Market) -> None:
    account = await roles.account_named()
    for side, quantity, price in ((Side.BUY, 30, "182.65"), (Side.SELL, 70, "183.10"), (Side.BUY, 25, "181.95")):
        market.print_price(price)
        order = await roles.place(side=side, quantity=quantity)
        await until_status(roles, order.order_id, "COMPLETE")
    here, there = await cash_here_and_there(roles, market, account)
    assert here == there != 1_000_000
    await ReconciliationReports(uow=roles.uow).request(account, actor="user:test")
    report = await until_verdict(roles, "MATCH", cause="REQUEST")
    assert report["counts"]["positions"] == 1
    (balance,) = await roles.rows("SELECT broker_cash FROM balances")
    assert balance["broker_cash"] == there


async def test_a_request_is_answered_once_and_written_down(roles: Desk) -> None:
    await until_logged_in(roles)
    account = await roles.account_named()
    await ReconciliationReports(uow=roles.uow).request(account, actor="user:test")
    await until_verdict(roles, "MATCH", cause="REQUEST")

    async def answered() -> bool:
        return await roles.count("reconciliation_requests") == 0

    await eventually(answered)
    (entry,) = await roles.rows("SELECT actor, action, subject FROM audit_log")
    assert (entry["actor"], entry["action"], entry["subject"]) == ("user:test", "reconciliation.request", "paper")


async def test_a_wrong_position_blocks_the_entries_of_its_account_alone_and_is_never_corrected(
    roles: Desk, market: Market
) -> None:
    await roles.add_account("other")
    bought = await roles.place(quantity=30)
    await until_status(roles, bought.order_id, "COMPLETE")
    await roles.execute("UPDATE positions SET quantity = quantity + 7, buy_quantity = buy_quantity + 7")
    report = await until_verdict(roles, "MISMATCH")
    assert report["differences"] == [
        {"kind": "POSITION", "subject": "NSE:YESBANK-EQ MIS", "ours": "37", "theirs": "30"}
    ]
    assert await blocks(roles) == {"paper": ["MISMATCH"]}
    assert await open_alerts(roles) == ["POSITION_MISMATCH"]
    # The other account trades on, and an exit of this one passes.
    other = await roles.place(account="other")
    await until_status(roles, other.order_id, "COMPLETE")
    sold = await roles.place(side=Side.SELL, quantity=10, purpose=Purpose.EXIT)
    await until_status(roles, sold.order_id, "COMPLETE")
    (row,) = await roles.rows(
        "SELECT quantity FROM positions p JOIN broker_accounts a ON a.id = p.account_id WHERE a.name = 'paper'"
    )
    assert row["quantity"] == 27
    # Put right, the block is lifted by the next look, and the alert closed.
    await roles.execute(
        "UPDATE positions SET quantity = quantity - 7, buy_quantity = buy_quantity - 7 WHERE quantity = 27"
    )
    await until_verdict(roles, "MATCH")
    assert (await blocks(roles), await open_alerts(roles)) == ({}, [])


async def test_wrong_cash_is_a_mismatch_on_paper(roles: Desk) -> None:
    await until_verdict(roles, "MATCH")
    await roles.execute("UPDATE balances SET opening_cash = opening_cash + 0.01")
    report = await until_verdict(roles, "MISMATCH")
    assert report["differences"] == [{"kind": "CASH", "subject": "cash", "ours": "1000000.01", "theirs": "1000000.00"}]
    assert (await blocks(roles), await open_alerts(roles)) == ({"paper": ["MISMATCH"]}, ["CASH_MISMATCH"])


async def test_the_same_finding_is_reported_once(roles: Desk) -> None:
    await until_verdict(roles, "MATCH")
    await roles.execute("UPDATE balances SET opening_cash = opening_cash + 5")
    await until_verdict(roles, "MISMATCH")
    (before,) = await roles.rows("SELECT broker_cash_at FROM balances")

    async def looked_thrice_more() -> bool:
        (now,) = await roles.rows("SELECT broker_cash_at FROM balances")
        return (now["broker_cash_at"] - before["broker_cash_at"]).total_seconds() > 3 * QUICK.trouble_every_s

    await eventually(looked_thrice_more)
    assert [one["cause"] for one in await reports(roles)].count("PERIODIC") == 1
    (alert,) = await roles.rows("SELECT count FROM alerts")
    assert alert["count"] == 1


async def test_a_single_failed_read_blocks_nothing_and_a_broker_that_stays_unreadable_does(
    roles: Desk, market: Market
) -> None:
    await until_verdict(roles, "MATCH")
    market.faults({"kind": "http_5xx", "probability": 1.0, "ops": ["books"], "limit": 2})
    (before,) = await roles.rows("SELECT broker_cash_at FROM balances")

    async def read_again() -> bool:
        (now,) = await roles.rows("SELECT broker_cash_at FROM balances")
        return bool(now["broker_cash_at"] > before["broker_cash_at"])

    await eventually(read_again)
    assert (await blocks(roles), [one["verdict"] for one in await reports(roles)]) == ({}, ["MATCH"])

    market.faults({"kind": "http_5xx", "probability": 1.0, "ops": ["books"]})
    report = await until_verdict(roles, "UNREADABLE")
    assert report["error"]
    assert await blocks(roles) == {"paper": ["UNREADABLE"]}
    assert "BROKER_UNREADABLE" in await open_alerts(roles)
    market.faults()
    await until_verdict(roles, "MATCH")
    assert await blocks(roles) == {}
    assert "BROKER_UNREADABLE" not in await open_alerts(roles)


async def test_one_unreadable_account_delays_no_other(trading: Desk, market: Market) -> None:
    """The looks of accounts are tasks of their own: one that hangs is not waited for."""
    stuck = await trading.add_account("aaa")

    class Stuck(Reconciliation):
        async def look(self, *, with_orders: bool) -> Any:  # noqa: ANN401
            await asyncio.Event().wait()

    async with a_reconciler(trading, market, stuck, Stuck), running(keeper.run, trading.base.config):
        await until_verdict(trading, "MATCH", cause="START")
        assert await reports(trading, "aaa") == [] or (await reports(trading, "aaa"))[0]["verdict"] == "MATCH"


@asynccontextmanager
async def a_reconciler(
    desk: Desk, market: Market, account: Account, kind: type[Reconciliation]
) -> AsyncIterator[AccountReconciler]:
    pool, _ = broker_pool(desk.base)
    lease = await desk.lease("spare")
    compared = kind(account, uow=desk.uow, brokers=pool, clock=desk.base.clock, lease=lease)
    made = AccountReconciler(account, compared, uow=desk.uow, lease=lease, clock=desk.base.clock, rhythm=QUICK)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.wait([task])
        await pool.close()


async def test_an_order_that_is_open_here_and_unknown_to_the_broker_is_a_mismatch(roles: Desk) -> None:
    await until_logged_in(roles)
    order_id: UUID = await roles.placed("no-such-order")
    await roles.execute("UPDATE orders SET saved_at = saved_at - interval '1 minute' WHERE id = :id", id=order_id)
    report = await until_verdict(roles, "MISMATCH")
    assert report["differences"] == [
        {"kind": "ORDER", "subject": f"order {order_id}", "ours": "open", "theirs": "not listed"}
    ]
    assert "ORDER_MISMATCH" in await open_alerts(roles)


async def test_an_order_made_by_hand_is_a_difference_only_until_it_is_imported(roles: Desk, market: Market) -> None:
    await until_verdict(roles, "MATCH")
    account = await roles.account_named()
    broker_order_id = await by_hand(roles)
    market.print_price("179.90")
    await until_stored(roles, broker_order_id)

    async def counted() -> bool:
        return [row["quantity"] for row in await roles.rows("SELECT quantity FROM positions")] == [10]

    await eventually(counted, timeout_s=30)
    await ReconciliationReports(uow=roles.uow).request(account, actor="user:test")
    report = await until_verdict(roles, "MATCH", cause="REQUEST")
    assert report["counts"]["positions"] == 1
    assert "MISMATCH" not in (await blocks(roles)).get("paper", [])
    here, there = await cash_here_and_there(roles, market, account)
    assert here == there != 1_000_000
