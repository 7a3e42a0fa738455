"""An order is saved once for each key, whole or not at all."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy.exc import IntegrityError

from app.core.orders import OrderStatus, Urgency
from app.infra.ids import new_id
from app.repositories.order_rows import NewOrder
from app.repositories.orders import DuplicateClientOrderId
from app.repositories.unit_of_work import UnitOfWork
from tests.harness.records import DAY, NOON, World


async def save(uow: UnitOfWork, new: NewOrder) -> bool:
    async with uow.statement() as tx:
        return await tx.orders.save(new)


async def counts(world: World) -> tuple[object, ...]:
    row = await world.row("""
      SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM order_commands),
        (SELECT count(*) FROM order_events), (SELECT count(*) FROM idempotency_keys)
    """)
    return tuple(row)


async def test_order_command_event_and_answer_are_saved_together(world: World) -> None:
    new = world.new_order(
        urgency=Urgency.STOP_LOSS, price=Decimal("182.05"), deadline=NOON + timedelta(minutes=5), quantity=7
    )
    assert await save(world.uow, new)
    assert await counts(world) == (1, 1, 1, 1)
    order = await world.order(new)
    assert order.intent == new.intent
    assert (order.status, order.tag, order.filled_quantity) == (OrderStatus.PENDING, new.tag, 0)
    assert (order.trading_day, order.market_time) == (DAY, NOON)
    assert order.stages.received == new.received_at
    assert order.stages.saved is not None
    assert order.stages.claimed is order.stages.done is None
    row = await world.row("SELECT kind, state, urgency, band, attempt, ring_after - created_at FROM order_commands")
    assert tuple(row)[:5] == ("PLACE", "PENDING", "STOP_LOSS", 3, 0)
    assert abs(row[5] - timedelta(seconds=2)) < timedelta(milliseconds=100)
    assert await world.events(new) == ["CREATED"]


async def test_the_same_key_twice_saves_one_order(world: World) -> None:
    first = world.new_order("one", key="click")
    assert await save(world.uow, first)
    assert not await save(world.uow, world.new_order("two", key="click"))
    assert await counts(world) == (1, 1, 1, 1)
    async with world.uow.statement() as tx:
        assert await tx.idempotency.find(caller="tester", key="click") == first.answer


async def test_the_same_key_at_the_same_moment_saves_one_order(world: World) -> None:
    clicks = [world.new_order(f"o{n}", key="click") for n in range(10)]
    saved = await asyncio.gather(*(save(world.uow, new) for new in clicks))
    assert saved.count(True) == 1
    assert await counts(world) == (1, 1, 1, 1)


async def test_the_second_of_two_open_transactions_waits_and_sees_the_key_used(world: World) -> None:
    async with world.uow.transaction() as tx:
        assert await tx.orders.save(world.new_order("one", key="click"))
        second = asyncio.create_task(save(world.uow, world.new_order("two", key="click")))
        blocked = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        while (await world.row(blocked))[0] == 0:
            assert not second.done()
    assert await second is False


async def test_a_key_whose_first_use_was_rolled_back_can_be_used(world: World) -> None:
    async def save_and_fail() -> None:
        async with world.uow.transaction() as tx:
            assert await tx.orders.save(world.new_order("one", key="click"))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        await save_and_fail()
    assert await counts(world) == (0, 0, 0, 0)
    assert await save(world.uow, world.new_order("one", key="click"))


async def test_a_client_order_id_under_another_key_is_refused_and_leaves_nothing(world: World) -> None:
    await world.save(world.new_order("one", key="first"))
    with pytest.raises(DuplicateClientOrderId, match="one"):
        await save(world.uow, world.new_order("one", key="second"))
    assert await counts(world) == (1, 1, 1, 1)


async def test_two_accounts_may_use_the_same_client_order_id(world: World) -> None:
    other = await world.second_account()
    await world.save(world.new_order("one", key="first"))
    await world.save(world.new_order("one", key="second", account_id=other.id))
    assert (await counts(world))[0] == 2


async def test_an_order_on_an_account_that_does_not_exist_is_refused_as_what_it_is(world: World) -> None:
    with pytest.raises(IntegrityError, match="fk_orders_account_id"):
        await save(world.uow, world.new_order(account_id=new_id()))
    assert await counts(world) == (0, 0, 0, 0)


async def test_a_refusal_is_remembered_under_its_key_and_the_first_answer_stays(world: World) -> None:
    answer = world.new_order("one", key="refused").answer
    async with world.uow.statement() as tx:
        assert await tx.idempotency.find(caller="tester", key="refused") is None
        assert await tx.idempotency.add(answer)
        assert not await tx.idempotency.add(answer)
        assert await tx.idempotency.find(caller="tester", key="refused") == answer
        assert await tx.idempotency.find(caller="someone else", key="refused") is None
    assert not await save(world.uow, world.new_order("one", key="refused"))
    assert await counts(world) == (0, 0, 0, 1)


async def test_money_comes_back_as_the_decimal_that_was_saved(world: World) -> None:
    new = await world.save(world.new_order(price=Decimal("182.05")))
    price = (await world.order(new)).intent.price
    assert type(price) is Decimal
    assert price == Decimal("182.05")


async def test_an_order_that_does_not_exist_is_none_and_has_no_history(world: World) -> None:
    async with world.uow.statement() as tx:
        assert await tx.orders.get(new_id()) is None
        assert await tx.orders.timeline(new_id()) == []
