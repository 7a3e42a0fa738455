"""The exchange's clock can be set off the machine's, and the ledger counts order writes by that clock."""

from datetime import datetime, timedelta
from typing import Any

from tests.harness.smartapi import LIMIT_BUY, SECURE, WireClient
from tests.integration.exchange.conftest import Desk


async def set_clock(wire: WireClient, offset_ms: int) -> dict[str, Any]:
    answer = await wire.control("POST", "/control/clock", {"offset_ms": offset_ms})
    assert answer.status_code == 200, answer.text
    parsed: dict[str, Any] = answer.json()
    return parsed


async def testimony(wire: WireClient) -> dict[str, Any]:
    parsed: dict[str, Any] = (await wire.control("GET", f"/control/ledger/{wire.client.client_code}")).json()
    return parsed


async def test_an_offset_shifts_every_time_that_the_exchange_writes(desk: Desk, wire: WireClient) -> None:
    told = await set_clock(wire, 400)
    shifted = desk.now + timedelta(milliseconds=400)
    assert datetime.fromisoformat(told["time"]) == shifted

    order = await wire.placed(LIMIT_BUY)
    await wire.print_price("148.00")
    known = await testimony(wire)
    assert [datetime.fromisoformat(row["received_at"]) for row in known["orders"]] == [shifted]
    assert [datetime.fromisoformat(row["traded_at"]) for row in known["trades"]] == [shifted]
    assert (await wire.book())[order]["updatetime"] == "21-Sep-2026 10:30:00"


async def test_the_offset_outlives_the_process(desk: Desk, wire: WireClient) -> None:
    await set_clock(wire, -1500)
    again = desk.open()
    health = (await again.http.get("/health")).json()
    assert datetime.fromisoformat(health["time"]) == desk.now - timedelta(milliseconds=1500)


async def test_a_jump_over_midnight_ends_sessions_and_day_orders_and_a_new_login_works(
    desk: Desk, wire: WireClient
) -> None:
    await wire.placed(LIMIT_BUY)
    await set_clock(wire, 24 * 3_600_000)
    assert (await wire.place(LIMIT_BUY))["errorCode"] == "AG8002"
    await wire.login(at=desk.now)
    await wire.placed(LIMIT_BUY)
    assert [row["status"] for row in (await testimony(wire))["orders"]] == ["cancelled", "open"]


async def test_every_order_write_counts_in_its_calendar_second(desk: Desk, wire: WireClient) -> None:
    desk.now = desk.now.replace(microsecond=700_000)
    order = await wire.placed(LIMIT_BUY)
    body = {"orderid": order, "variety": "NORMAL"}
    terms = LIMIT_BUY | body | {"price": "148.50", "quantity": "20"}
    assert (await wire.post(f"{SECURE}/order/v1/modifyOrder", terms)).json()["status"] is True
    await set_clock(wire, 400)
    assert (await wire.post(f"{SECURE}/order/v1/cancelOrder", body)).json()["status"] is True
    for _ in range(2):
        assert (await wire.post(f"{SECURE}/order/v1/cancelOrder", body)).json()["errorcode"] == "AB1013"
    summary = (await testimony(wire))["summary"]
    assert summary["per_second"] == {"2026-09-21T05:00:00+00:00": 2, "2026-09-21T05:00:01+00:00": 3}
    assert (summary["max_per_calendar_second"], summary["max_per_segment_second"]) == (3, 3)


async def test_segments_are_counted_apart(wire: WireClient) -> None:
    future = {"exchange": "NFO", "tradingsymbol": "NIFTY28NOV26FUT", "symboltoken": "57000", "quantity": "75"}
    for _ in range(2):
        await wire.placed(LIMIT_BUY)
        await wire.placed(LIMIT_BUY | future, producttype="CARRYFORWARD")
    summary = (await testimony(wire))["summary"]
    assert (summary["max_per_calendar_second"], summary["max_per_segment_second"]) == (4, 2)


async def test_an_offset_beyond_two_days_is_refused(wire: WireClient) -> None:
    for offset in (48 * 3_600_000 + 1, "soon", 0.5, None):
        answer = await wire.control("POST", "/control/clock", {"offset_ms": offset})
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_field")
