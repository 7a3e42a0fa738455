"""GET: orders with filters, pages and timeline; fills; positions."""

from uuid import uuid4

from app.core.orders import Side
from app.core.ports import BrokerTrade
from app.infra.fee_schedules import load_fee_schedules
from app.services.fill_recorder import FillRecorder
from tests.harness.desk import Desk, a_trade
from tests.integration.api.conftest import Api


async def record(desk: Desk, *trades: BrokerTrade) -> None:
    recorder = FillRecorder(uow=desk.uow, fee_schedules=load_fee_schedules("angelone"))
    account = await desk.account_named("paper")
    await recorder.record(account.id, trades, await desk.lease())


async def test_pages_give_every_order_once_newest_first(api: Api) -> None:
    made = [str((await api.desk.place()).order_id) for _ in range(7)]
    seen: list[str] = []
    page = await api.get("/orders", limit=3)
    while True:
        seen += [item["order_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        await api.desk.place()  # what is new does not move the pages that follow
        page = await api.get("/orders", limit=3, cursor=page["next_cursor"])
    assert seen == made[::-1]


async def test_filters_narrow_the_list(api: Api) -> None:
    await api.desk.add_account("other")
    first = str((await api.desk.place()).order_id)
    sale = str((await api.desk.place(side=Side.SELL)).order_id)
    etf = str((await api.desk.place(instrument="NSE:JUNIORBEES")).order_id)
    other = str((await api.desk.place(account="other")).order_id)
    placed = str(await api.desk.placed("B1"))

    async def found(**params: str | int) -> set[str]:
        return {item["order_id"] for item in (await api.get("/orders", **params))["items"]}

    assert await found(side="SELL") == {sale}
    assert await found(instrument="NSE:JUNIORBEES") == {etf}
    assert await found(account="other") == {other}
    assert await found(status="PLACED") == {placed}
    assert await found(account="paper", side="BUY", status="PENDING", instrument="NSE:YESBANK") == {first}
    assert await found(trading_day="2019-01-01") == {first, sale, etf, other, placed}
    assert await found(trading_day="2019-01-02") == set()
    assert await found(strategy_id=str(uuid4())) == set()


async def test_one_order_tells_its_stages_and_its_timeline(api: Api) -> None:
    order_id = await api.desk.placed("B1", quantity=10)
    await record(api.desk, a_trade("B1", "1", 4, "182.60"), a_trade("B1", "2", 6, "182.70"))
    order = await api.get(f"/orders/{order_id}")
    assert [event["event"] for event in order["events"]] == ["CREATED", "FULL_FILL"]
    assert order["events"][1]["detail"]["trades"] == "1,2"
    assert (order["status"], order["filled_quantity"], order["average_price"]) == ("COMPLETE", 10, "182.660000")
    assert order["stages"]["received"].endswith("+05:30")
    assert order["stages"]["received"] <= order["stages"]["saved"] <= order["stages"]["first_fill"]
    assert order["stages"]["first_fill"] <= order["stages"]["done"]
    assert (order["stages"]["claimed"], order["market_time"]) == (None, "2019-01-01T12:00:00+05:30")


async def test_an_order_that_is_not_there_is_a_404(api: Api) -> None:
    answer = await api.http.get(f"/api/v1/orders/{uuid4()}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_fills_and_positions_say_what_was_traded(api: Api) -> None:
    order_id = await api.desk.placed("B1", quantity=30)
    await api.desk.placed("B2", quantity=10, side=Side.SELL)
    await record(
        api.desk,
        a_trade("B1", "1", 10, "182.60"),
        a_trade("B1", "2", 20, "182.70"),
        a_trade("B2", "3", 10, "183.00", side=Side.SELL),
    )
    first = await api.get("/fills", limit=2)
    second = await api.get("/fills", limit=2, cursor=first["next_cursor"])
    trades = [item["trade_id"] for item in first["items"] + second["items"]]
    assert sorted(trades) == ["1", "2", "3"]
    assert second["next_cursor"] is None
    of_order = (await api.get("/fills", order_id=str(order_id), account="paper", instrument="NSE:YESBANK"))["items"]
    assert sum(item["quantity"] for item in of_order) == 30
    assert all(item["price"] in ("182.600000", "182.700000", "182.60", "182.70") for item in of_order)

    (position,) = (await api.get("/positions", account="paper", open_only="true"))["items"]
    assert (position["quantity"], position["buy_quantity"], position["sell_quantity"]) == (20, 30, 10)
    # Average cost 5480/30 a unit: 10 sold at 183.00 earn 1830 - 1826.67.
    assert position["realized_pnl"] == "3.33"
    assert position["average_price"] == "182.6667"
    assert (await api.get("/positions", strategy_id=str(uuid4())))["items"] == []
