"""Changes and cancels end to end, against the real exchange: races end in the state that its ledger has."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.bootstrap import keeper, worker
from app.core.orders import OrderType, Side
from app.queue.connection import build_queue_redis
from app.queue.producer import RedisDoorbell
from tests.harness.desk import Desk, running
from tests.harness.market import Market
from tests.harness.queue import eventually

LOW: dict[str, Any] = {"order_type": OrderType.LIMIT, "price": Decimal("150.00"), "quantity": 20}


@pytest.fixture
async def roles(trading: Desk, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """The keeper and a worker, with bells that ring."""
    redis = build_queue_redis(redis_url)
    monkeypatch.setattr(trading.doorbell, "ring", RedisDoorbell(redis, clock=trading.base.clock).ring)
    async with running(keeper.run, trading.base.config), running(worker.run, trading.base.config):
        yield trading
    await redis.aclose()


async def until_status(desk: Desk, order_id: UUID | None, *statuses: str) -> str:
    async def reached() -> bool:
        return await desk.status(order_id) in statuses

    await eventually(reached, timeout_s=30)
    return await desk.status(order_id)


async def until_event(desk: Desk, order_id: UUID | None, event: str) -> None:
    async def happened() -> bool:
        return event in await desk.events(order_id)

    await eventually(happened, timeout_s=30)


async def theirs(desk: Desk, market: Market, order_id: UUID | None) -> dict[str, Any]:
    """Return the exchange's own row of an order."""
    broker_id = (await desk.order(order_id)).broker_order_id
    rows: Any = market.control("GET", f"ledger/{(await desk.account_named()).client_code}")["orders"]
    (row,) = [row for row in rows if row["order_id"] == broker_id]
    return dict(row)


async def resting(desk: Desk, **changes: Any) -> UUID:  # noqa: ANN401
    answer = await desk.place(**(LOW | changes))
    await until_status(desk, answer.order_id, "PLACED")
    assert answer.order_id is not None
    return answer.order_id


async def test_a_resting_order_is_cancelled_when_the_exchange_says_so(roles: Desk, market: Market) -> None:
    order_id = await resting(roles)
    assert (await roles.cancel(order_id)).result == "cancel_sent"
    await until_status(roles, order_id, "CANCELLED")
    assert (await theirs(roles, market, order_id))["status"] == "cancelled"
    assert (await roles.cancel(order_id)).refusal_code == "order_over"
    assert (await roles.modify(order_id, quantity=30)).refusal_code == "order_over"


async def test_a_changed_order_has_the_terms_that_the_exchange_has(roles: Desk, market: Market) -> None:
    order_id = await resting(roles, side=Side.SELL, price=Decimal("190.00"))
    assert (await roles.modify(order_id, quantity=30, price=Decimal("191.00"))).result == "modify_sent"
    await until_event(roles, order_id, "MODIFIED")
    order, row = (await roles.order(order_id)).intent, await theirs(roles, market, order_id)
    assert (order.quantity, order.price, order.side) == (30, Decimal("191.00"), Side.SELL)
    assert (row["quantity"], Decimal(str(row["price"])), row["side"]) == (30, Decimal("191.00"), "SELL")
    assert (await roles.modify(order_id, order_type=OrderType.MARKET)).result == "modify_sent"
    await until_status(roles, order_id, "COMPLETE")
    assert (await roles.order(order_id)).filled_quantity == 30


async def test_fill_while_cancelling_ends_as_the_exchange_decided(roles: Desk, market: Market) -> None:
    ends = set()
    for turn in range(6):
        market.print_price("182.65")
        order_id = await resting(roles, price=Decimal("182.00"))

        async def fill() -> None:
            await asyncio.to_thread(market.print_price, "181.90")

        await asyncio.gather(*((roles.cancel(order_id), fill()) if turn % 2 else (fill(), roles.cancel(order_id))))
        ended = await until_status(roles, order_id, "COMPLETE", "CANCELLED")
        row = await theirs(roles, market, order_id)
        assert ended == row["status"].upper()
        assert (await roles.order(order_id)).filled_quantity == row["filled"]
        ends.add(ended)
    assert ends <= {"COMPLETE", "CANCELLED"}

    async def no_change_is_open() -> bool:
        return not await roles.rows("SELECT 1 FROM order_commands WHERE kind = 'CANCEL' AND state <> 'DONE'")

    await eventually(no_change_is_open, timeout_s=30)


async def test_a_cancel_while_placing_reaches_the_order_as_soon_as_it_is_known(roles: Desk, market: Market) -> None:
    market.faults({"kind": "latency", "probability": 1.0, "ops": ["place"], "delay_ms": 700})
    answer = await roles.place(**LOW)
    await until_status(roles, answer.order_id, "SUBMITTING")
    assert (await roles.cancel(answer.order_id)).result == "held"
    await until_status(roles, answer.order_id, "CANCELLED")
    assert (await theirs(roles, market, answer.order_id))["status"] == "cancelled"


async def test_a_partly_filled_order_is_changed_within_what_is_left(roles: Desk, market: Market) -> None:
    order_id = await resting(roles, price=Decimal("182.00"))
    await asyncio.to_thread(market.print_price, "181.90", volume=5)
    await until_status(roles, order_id, "PARTIALLY_FILLED")
    traded = (await roles.order(order_id)).filled_quantity
    assert (await roles.modify(order_id, quantity=traded + 3, price=Decimal("150.00"))).result == "modify_sent"
    await until_event(roles, order_id, "MODIFIED")
    assert (await theirs(roles, market, order_id))["quantity"] == traded + 3
    await roles.cancel(order_id)
    await until_status(roles, order_id, "CANCELLED")
    assert (await roles.order(order_id)).filled_quantity == traded == (await theirs(roles, market, order_id))["filled"]


async def test_a_cancel_of_which_the_answer_is_lost_is_repeated_until_the_order_is_over(
    roles: Desk, market: Market
) -> None:
    order_id = await resting(roles)
    market.faults({"kind": "drop_before_accept", "probability": 1.0, "ops": ["cancel"], "limit": 2})
    await roles.cancel(order_id)
    await until_status(roles, order_id, "CANCELLED")
    events = await roles.events(order_id)
    assert events.count("CANCEL_UNKNOWN") == 2
    assert (await theirs(roles, market, order_id))["status"] == "cancelled"


@pytest.mark.parametrize(
    ("fault", "price", "event"),
    [
        ("drop_after_accept", "151.00", "MODIFIED"),
        ("drop_before_accept", "150.00", "MODIFY_ABSENT"),
    ],
)
async def test_a_change_of_which_the_answer_is_lost_is_settled_by_the_book(
    roles: Desk, market: Market, fault: str, price: str, event: str
) -> None:
    order_id = await resting(roles)
    market.faults({"kind": fault, "probability": 1.0, "ops": ["modify"], "limit": 1})
    await roles.modify(order_id, price=Decimal("151.00"))
    await until_event(roles, order_id, "MODIFY_UNKNOWN")
    assert (await roles.modify(order_id, price=Decimal("152.00"))).refusal_code == "change_in_flight"
    await until_event(roles, order_id, event)
    assert (await roles.order(order_id)).intent.price == Decimal(price)
    assert Decimal(str((await theirs(roles, market, order_id))["price"])) == Decimal(price)
