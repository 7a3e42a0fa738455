"""POST /orders: one key, one answer, one order, whatever happens to database, Redis or connection."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.bootstrap.api import api_application
from app.core.tags import order_tag
from app.queue.lanes import LANES, lane_keys
from app.repositories.order_rows import NewOrder
from app.repositories.orders import OrderRepository
from tests.harness.desk import NOON, a_token, desk
from tests.harness.redis import RedisProcess
from tests.integration.api.conftest import ORDER, Api


async def depths(api: Api) -> dict[str, int]:
    return {lane.value: await api.desk.base.redis.zcard(lane_keys(lane).ready) for lane in LANES}


async def test_an_order_is_saved_rung_and_answered_with_202(api: Api) -> None:
    answer = await api.post()
    body = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/v1/orders/{body['order_id']}"
    assert "idempotency-replayed" not in answer.headers
    assert (body["status"], body["account"], body["instrument"]) == ("PENDING", "paper", "NSE:YESBANK")
    assert body["tag"] == order_tag(body["client_order_id"])
    assert await depths(api) == {"priority": 0, "standard": 1}


async def test_an_urgent_order_hangs_in_the_priority_lane(api: Api) -> None:
    await api.post(urgency="STOP_LOSS")
    assert await depths(api) == {"priority": 1, "standard": 0}


KINDS: list[dict[str, Any]] = [
    {"order_type": "MARKET", "price": None},
    {"order_type": "LIMIT", "product": "CNC", "validity": "IOC"},
    {"order_type": "SL", "price": "185.00", "trigger_price": "184.50"},
    {"order_type": "SL-M", "price": None, "trigger_price": "184.50", "urgency": "STOP_LOSS"},
    {"price": 182.65},
    {"deadline": "2019-01-01T12:30:00+05:30", "client_order_id": "mine:1"},
]


async def test_each_kind_of_order_is_taken(api: Api) -> None:
    for number, changes in enumerate(KINDS):
        answer = await api.post(key=f"k{number}", **changes)
        assert answer.status_code == 202, answer.text


async def test_the_same_key_and_body_gets_the_first_answer_again(api: Api) -> None:
    first, second = await api.post(), await api.post()
    assert second.status_code == 202
    assert second.json() == first.json()
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["idempotency-replayed"] == "true"
    assert await api.desk.count("orders") == 1


async def test_another_spelling_of_the_same_body_is_the_same_body(api: Api) -> None:
    first = await api.post()
    second = await api.post(dict(reversed(ORDER.items())) | {"urgency": "NORMAL", "validity": "DAY"})
    assert second.json() == first.json()


async def test_the_same_key_with_another_body_is_a_conflict(api: Api) -> None:
    await api.post()
    answer = await api.post(quantity=11)
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_reused")
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert await api.desk.count("orders") == 1


async def test_keys_belong_to_their_caller(api: Api) -> None:
    await api.post()
    api.http.headers["Authorization"] = f"Bearer {a_token('somebody')}"
    answer = await api.post(quantity=11)
    assert answer.status_code == 202
    assert await api.desk.count("orders") == 2


async def test_double_click_same_intent(api: Api) -> None:
    answers = await asyncio.gather(*(api.post() for _ in range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["order_id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert (await api.desk.count("orders"), await api.desk.count("order_commands")) == (1, 1)


async def test_a_client_order_id_counts_once_under_many_keys(api: Api) -> None:
    answers = await asyncio.gather(*(api.post(key=f"k{n}", client_order_id="mine") for n in range(8)))
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 7
    refused = next(n for n, answer in enumerate(answers) if answer.status_code == 409)
    assert answers[refused].json()["code"] == "duplicate_client_order_id"
    again = await api.post(key=f"k{refused}", client_order_id="mine")
    assert again.json() == answers[refused].json()
    assert again.headers["idempotency-replayed"] == "true"
    assert await api.desk.count("orders") == 1


async def test_a_market_clock_that_stands_still_tells_no_time(api: Api) -> None:
    await api.desk.execute("UPDATE market_clock SET updated_at = clock_timestamp() - interval '11 minutes'")
    refused = await api.post(key="stale")
    assert (refused.status_code, refused.json()["code"]) == (409, "market_time_unknown")
    assert await api.desk.count("orders") == 0


async def test_a_refusal_is_an_answer_too_and_stays_the_same_when_the_reason_is_gone(api: Api) -> None:
    await api.desk.add_account("asleep", source="no feed")
    unknown_time = await api.post(key="a", account="asleep")
    passed = await api.post(key="b", deadline=NOON.isoformat())
    await api.desk.pause(await api.desk.account_named("paper"))
    paused = await api.post(key="c")
    codes = [answer.json()["code"] for answer in (unknown_time, passed, paused)]
    assert codes == ["market_time_unknown", "deadline_passed", "account_paused"]
    assert {answer.status_code for answer in (unknown_time, passed, paused)} == {409}

    await api.desk.set_market_time(source="no feed")
    await api.desk.execute("UPDATE broker_accounts SET status = 'ACTIVE'")
    again = [
        await api.post(key="a", account="asleep"),
        await api.post(key="b", deadline=NOON.isoformat()),
        await api.post(key="c"),
    ]
    assert [answer.json() for answer in again] == [answer.json() for answer in (unknown_time, passed, paused)]
    assert all(answer.headers["idempotency-replayed"] == "true" for answer in again)
    assert await api.desk.count("orders") == 0


async def test_a_deadline_counts_in_market_time(api: Api) -> None:
    later = (NOON + timedelta(seconds=1)).isoformat()
    assert (await api.post(deadline=later)).status_code == 202


async def test_an_invalid_order_does_not_use_up_its_key(api: Api) -> None:
    assert (await api.post(price="182.66")).status_code == 422
    assert (await api.post(price="182.65")).status_code == 202


async def test_http_500_but_live(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order is saved, the database's answer does not come: repeating the request tells what was saved."""
    await api.get("/orders", account="paper", instrument="NSE:YESBANK")  # names are known from now on
    save = OrderRepository.save

    async def save_and_lose_the_answer(orders: OrderRepository, new: NewOrder) -> bool:
        await save(orders, new)
        raise ConnectionResetError("the connection broke")

    with monkeypatch.context() as patched:
        patched.setattr(OrderRepository, "save", save_and_lose_the_answer)
        lost = await api.post()
    assert (lost.status_code, lost.json()["code"]) == (503, "database_unavailable")
    assert lost.headers["retry-after"] == "1"
    again = await api.post()
    assert again.status_code == 202
    assert again.headers["idempotency-replayed"] == "true"
    (order,) = (await api.get("/orders"))["items"]
    assert order["order_id"] == again.json()["order_id"]


@pytest.mark.parametrize("trouble", ["killed", "frozen"])
async def test_without_redis_an_order_is_taken_all_the_same_and_soon(database_url: str, trouble: str) -> None:
    redis = RedisProcess()
    try:
        async with desk(database_url, redis.url) as made, api_application(made.base.config) as app:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
                http.headers["Authorization"] = f"Bearer {a_token()}"
                warm = await http.post("/api/v1/orders", json=ORDER, headers={"Idempotency-Key": "warm"})
                assert warm.status_code == 202
                redis.kill() if trouble == "killed" else redis.pause()
                took = []
                for n in range(5):
                    started = time.monotonic()
                    answer = await http.post("/api/v1/orders", json=ORDER, headers={"Idempotency-Key": f"k{n}"})
                    took.append(time.monotonic() - started)
                    assert answer.status_code == 202
                # 50 ms for the doorbell, the rest for the database on a busy machine.
                assert min(took) < 0.3
                assert await made.count("orders") == 6
                ready = await http.get("/health/ready")
                assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
                assert ready.json()["components"] == {"database": "ok", "redis": "away", "workers": "not known"}
    finally:
        redis.stop()
