"""Balances, reconciliations, positions at last prices, and metrics."""

import asyncio
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import httpx

from app.bootstrap.api import api_application
from app.core.bars import Tick
from app.core.orders import Side
from app.core.reconciliations import ReconciliationCause, ReconciliationVerdict
from app.infra.ids import new_id
from app.infra.metrics import metrics_folder
from app.market_data.last_prices import LastPrices
from app.repositories.reconciliations import Reconciliation
from tests.harness.desk import NOON, a_token, a_trade, desk
from tests.integration.api.conftest import Api
from tests.integration.api.test_reads import record


async def print_price(api: Api, price: str, *, minutes_ago: int = 0) -> None:
    tick = Tick(
        instrument_id=api.desk.instruments["YESBANK"].id,
        at=NOON - timedelta(minutes=minutes_ago),
        price=Decimal(price),
        volume=1,
    )
    await LastPrices(api.desk.base.redis).write("paper", [tick])


async def bought_and_sold_some(api: Api) -> None:
    await api.desk.placed("B1", quantity=30)
    await api.desk.placed("B2", quantity=10, side=Side.SELL)
    await record(api.desk, a_trade("B1", "1", 30, "180.00"), a_trade("B2", "2", 10, "183.00", side=Side.SELL))


async def test_a_balance_is_the_opening_and_what_the_fills_moved(api: Api) -> None:
    await bought_and_sold_some(api)
    await print_price(api, "184.00")
    await api.desk.execute("UPDATE balances SET broker_cash = 996000, broker_cash_at = now()")
    (balance,) = (await api.get("/balances", account="paper"))["items"]
    fees = Decimal(balance["fees"])
    assert fees > 0
    assert (balance["opening_cash"], balance["realized_pnl"], balance["unrealized_pnl"]) == (
        "1000000.00",
        "30.00",
        "80.00",
    )
    assert Decimal(balance["cash"]) == 1_000_000 - 5400 + 1830 - fees
    assert balance["broker"]["cash"] == "996000.00"
    assert Decimal(balance["broker"]["difference"]) == 996_000 - Decimal(balance["cash"])
    (by_hand,) = balance["strategies"]
    assert (by_hand["strategy_id"], by_hand["realized_pnl"], by_hand["open_positions"]) == (None, "30.00", 1)


async def test_what_has_no_present_price_is_not_valued_and_says_why(api: Api) -> None:
    await bought_and_sold_some(api)
    (balance,) = (await api.get("/balances", account="paper"))["items"]
    assert (balance["unrealized_pnl"], balance["unrealized_doubt"]) == (None, "price_missing")
    await print_price(api, "184.00", minutes_ago=6)
    (balance,) = (await api.get("/balances"))["items"]
    assert (balance["unrealized_pnl"], balance["unrealized_doubt"]) == (None, "price_stale")
    (position,) = (await api.get("/positions"))["items"]
    assert (position["last_price"], position["unrealized_pnl"], position["unrealized_doubt"]) == (
        None,
        None,
        "price_stale",
    )
    await print_price(api, "179.00")
    (position,) = (await api.get("/positions"))["items"]
    assert (position["last_price"], position["average_price"], position["unrealized_pnl"]) == (
        "179.00",
        "180.0000",
        "-20.00",
    )


async def test_balances_come_in_pages_by_name(api: Api) -> None:
    for name in ("b", "a"):
        await api.desk.add_account(name)
    first = await api.get("/balances", limit=2)
    second = await api.get("/balances", limit=2, cursor=first["next_cursor"])
    assert [item["account"] for item in first["items"] + second["items"]] == ["a", "b", "paper"]
    assert second["next_cursor"] is None


async def test_reports_come_newest_first_in_pages(api: Api) -> None:
    account = await api.desk.account_named()
    for verdict in ReconciliationVerdict:
        async with api.desk.uow.transaction() as tx:
            await tx.reconciliations.add(
                Reconciliation(
                    id=new_id(),
                    account_id=account.id,
                    cause=ReconciliationCause.PERIODIC,
                    verdict=verdict,
                    started_at=NOON,
                    finished_at=NOON,
                    counts={"positions": 1},
                    differences=[{"kind": "CASH", "subject": "cash", "ours": "1.00", "theirs": "2.00"}],
                    error=None,
                )
            )
    first = await api.get("/reconciliations", account="paper", limit=2)
    second = await api.get("/reconciliations", limit=2, cursor=first["next_cursor"])
    assert [item["verdict"] for item in first["items"] + second["items"]] == ["UNREADABLE", "MISMATCH", "MATCH"]
    assert second["next_cursor"] is None
    assert first["items"][0]["differences"][0]["theirs"] == "2.00"


async def test_a_comparison_is_asked_for_through_the_database_and_audited(api: Api) -> None:
    for _ in range(2):
        answer = await api.http.post("/api/v1/reconciliations", json={"account": "paper"})
        assert (answer.status_code, answer.json()) == (202, {"account": "paper", "cause": "REQUEST"})
    assert await api.desk.count("reconciliation_requests") == 1
    actors = [row["actor"] for row in await api.desk.rows("SELECT actor FROM audit_log")]
    assert actors == ["user:admin", "user:admin"]


async def test_what_cannot_be_compared_is_refused(api: Api) -> None:
    await api.desk.add_account("nothing", broker="null")
    answer = await api.http.post("/api/v1/reconciliations", json={"account": "nothing"})
    assert (answer.status_code, answer.json()["code"]) == (409, "no_books")
    unknown = await api.http.post("/api/v1/reconciliations", json={"account": "nobody"})
    assert (unknown.status_code, unknown.json()["errors"][0]["code"]) == (422, "unknown_account")
    extra = await api.http.post("/api/v1/reconciliations", json={"account": "paper", "all": True})
    assert extra.status_code == 422
    assert await api.desk.count("reconciliation_requests") == 0


async def test_metrics_add_up_what_all_processes_counted_and_show_what_is_open(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    script = (
        "from pathlib import Path\n"
        "from app.infra.metrics import DUTY_FAILURES, keep_in_files\n"
        f"keep_in_files(Path({str(metrics_folder(tmp_path))!r}), role='t')\n"
        "DUTY_FAILURES.labels('sweep').inc(3)\n"
    )
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
        assert await process.wait() == 0
    async with (
        desk(database_url, redis_url, data_dir=tmp_path) as made,
        api_application(made.base.config) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as http,
    ):
        await made.place()
        answer = await http.get("/metrics", headers={"Authorization": f"Bearer {a_token()}"})
        without = await http.get("/metrics")
    assert (answer.status_code, without.status_code) == (200, 401)
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    assert 'sauda_duty_failures_total{duty="sweep"} 6.0' in lines
    assert 'sauda_orders_open{status="PENDING"} 1.0' in lines
    assert any(line.startswith('sauda_queue_waiting{lane="standard"}') for line in lines)
