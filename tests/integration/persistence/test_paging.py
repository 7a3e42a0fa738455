"""Lists are read newest first, page by page, without a gap or a repeat, whatever is added meanwhile."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from app.core.orders import OrderStatus, Product, Side
from app.infra.ids import new_id
from app.repositories.fills import NewFill
from app.repositories.order_rows import OrderFilter
from tests.harness.records import DAY, World
from tests.integration.persistence.fills import traded


async def order_pages(world: World, wanted: OrderFilter, limit: int) -> list[UUID]:
    seen: list[UUID] = []
    while True:
        async with world.uow.statement() as tx:
            page = await tx.orders.page(wanted, limit=limit)
        if not page:
            return seen
        seen += [order.id for order in page]
        wanted = wanted._replace(before=page[-1].id)


async def test_pages_of_orders_have_no_gap_and_no_repeat(world: World) -> None:
    orders = [await world.save(world.new_order(f"o{n}")) for n in range(11)]
    newest_first = [new.id for new in reversed(orders)]
    for limit in (1, 3, 11, 50):
        assert await order_pages(world, OrderFilter(), limit) == newest_first


async def test_orders_that_arrive_while_one_turns_pages_do_not_shift_them(world: World) -> None:
    orders = [await world.save(world.new_order(f"o{n}")) for n in range(6)]
    async with world.uow.statement() as tx:
        first = await tx.orders.page(OrderFilter(), limit=3)
        await tx.orders.save(world.new_order("late"))
        second = await tx.orders.page(OrderFilter(before=first[-1].id), limit=3)
    assert [order.id for order in first + second] == [new.id for new in reversed(orders)]


async def test_each_filter_keeps_what_it_names_and_they_combine(world: World) -> None:
    other = await world.second_account()
    buy = await world.save(world.new_order("buy"))
    sell = await world.save(world.new_order("sell", side=Side.SELL))
    foreign = await world.save(world.new_order("foreign", account_id=other.id))
    placed = await world.save(world.new_order("placed"))
    await world.execute("UPDATE orders SET status = 'PLACED' WHERE id = :id", {"id": placed.id})
    await world.execute("UPDATE orders SET trading_day = '2019-01-02' WHERE id = :id", {"id": sell.id})
    for wanted, expected in [
        (OrderFilter(account_id=world.account.id), [placed, sell, buy]),
        (OrderFilter(account_id=other.id), [foreign]),
        (OrderFilter(side=Side.SELL), [sell]),
        (OrderFilter(status=OrderStatus.PLACED), [placed]),
        (OrderFilter(status=OrderStatus.PENDING, account_id=world.account.id), [sell, buy]),
        (OrderFilter(instrument_id=world.instrument.id), [placed, foreign, sell, buy]),
        (OrderFilter(instrument_id=new_id()), []),
        (OrderFilter(strategy_id=new_id()), []),
        (OrderFilter(trading_day=DAY), [placed, foreign, buy]),
        (OrderFilter(trading_day=DAY + timedelta(days=1), side=Side.BUY), []),
    ]:
        assert await order_pages(world, wanted, limit=2) == [new.id for new in expected], wanted


@pytest.mark.parametrize("limit", [1, 4, 20])
async def test_pages_of_fills_have_no_gap_and_no_repeat(world: World, limit: int) -> None:
    first, second = await world.save(world.new_order("one")), await world.save(world.new_order("two"))
    new_fills: list[NewFill] = [traded(world, (first, second)[n % 2], n, Side.BUY, 1, price="10") for n in range(9)]
    async with world.uow.transaction() as tx:
        await tx.fills.add(new_fills)

    async def pages(order_id: UUID | None, account_id: UUID | None, instrument_id: UUID | None) -> list[UUID]:
        seen: list[UUID] = []
        while True:
            async with world.uow.statement() as tx:
                page = await tx.fills.page(
                    account_id=account_id,
                    order_id=order_id,
                    instrument_id=instrument_id,
                    before=seen[-1] if seen else None,
                    limit=limit,
                )
            if not page:
                return seen
            seen += [fill.id for fill in page]

    newest_first = [new.id for new in reversed(new_fills)]
    assert await pages(None, None, None) == newest_first
    assert await pages(None, world.account.id, world.instrument.id) == newest_first
    assert await pages(first.id, None, None) == [new.id for new in reversed(new_fills) if new.order_id == first.id]
    assert await pages(None, new_id(), None) == []


async def test_a_page_of_fills_says_what_traded(world: World) -> None:
    order = await world.save(world.new_order())
    new = traded(world, order, 1, Side.BUY, 7, price="182.05")
    async with world.uow.transaction() as tx:
        await tx.fills.add([replace(new, fill=replace(new.fill))])
        (fill,) = await tx.fills.page(account_id=None, order_id=order.id, instrument_id=None, before=None, limit=5)
        assert await tx.fills.count(world.account.id) == 1
        assert await tx.fills.count(new_id()) == 0
    assert (fill.side, fill.product, fill.quantity, fill.price) == (Side.BUY, Product.MIS, 7, new.fill.price)
    assert (fill.trade_id, fill.broker_order_id, fill.traded_at) == ("1", "B1", new.fill.traded_at)
    assert type(fill.price) is type(fill.fees) is type(new.fill.price)
