"""The circuit breaker with a real worker in front of a real exchange that fails, and recovers."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from app.bootstrap import keeper, worker
from app.brokers.breaker import BAD_TO_OPEN
from app.core.orders import OrderType, Urgency
from tests.harness.desk import Desk, running
from tests.harness.market import Market
from tests.harness.queue import eventually
from tests.integration.keeper.test_watches import until_logged_in, until_status

RESTING: dict[str, Any] = {"order_type": OrderType.LIMIT, "price": Decimal("180.00")}


@pytest.fixture
async def at_work(trading: Desk) -> AsyncIterator[Desk]:
    async with running(keeper.run, trading.base.config), running(worker.run, trading.base.config):
        await until_logged_in(trading)
        yield trading


async def open_alerts(desk: Desk) -> list[tuple[str, int]]:
    rows = await desk.rows("SELECT subject, count FROM alerts WHERE kind = 'BREAKER_OPEN' AND closed_at IS NULL")
    return [(row["subject"], row["count"]) for row in rows]


async def test_a_failing_broker_is_left_alone_until_an_urgent_order_gets_through(at_work: Desk, market: Market) -> None:
    market.faults({"kind": "http_5xx", "probability": 1.0, "ops": ["place"], "limit": BAD_TO_OPEN})
    failed = [await at_work.place(**RESTING) for _ in range(BAD_TO_OPEN)]

    async def is_open() -> bool:
        return bool(await open_alerts(at_work))

    await eventually(is_open)
    assert await open_alerts(at_work) == [("paper", 1)]
    ordinary = await at_work.place(**RESTING)
    urgent = await at_work.place(**RESTING, urgency=Urgency.HIGH)
    await until_status(at_work, urgent.order_id, "PLACED")

    async def is_closed() -> bool:
        return not await open_alerts(at_work)

    await eventually(is_closed)
    await until_status(at_work, ordinary.order_id, "PLACED")
    events = await at_work.events(ordinary.order_id)
    assert events[:3] == ["CREATED", "CLAIMED", "ACCEPTED"]
    sent = await at_work.rows("SELECT sent_at FROM orders WHERE id = :id", id=ordinary.order_id)
    probe = await at_work.rows("SELECT sent_at FROM orders WHERE id = :id", id=urgent.order_id)
    assert probe[0]["sent_at"] < sent[0]["sent_at"]
    for answer in failed:
        assert await at_work.status(answer.order_id) in ("UNKNOWN", "PENDING", "SUBMITTING", "PLACED")
