"""Fills are counted once, and positions come back to the last digit."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy.exc import IntegrityError

from app.core.orders import OrderStatus, Product, Side
from app.core.positions import Position, fold
from app.core.transitions import OrderEvent
from app.infra.ids import new_id
from app.repositories.fills import FilledOrder, NewFill
from app.repositories.order_rows import OrderChange
from app.repositories.positions import PositionKey
from tests.harness.records import NOON, World
from tests.integration.persistence.fills import traded


async def add(world: World, *fills: NewFill) -> None:
    async with world.uow.transaction() as tx:
        await tx.fills.add(list(fills))


async def test_the_same_trade_is_never_counted_twice(world: World) -> None:
    order = await world.save(world.new_order())
    new = traded(world, order, 1, Side.BUY, 7, price="182.05")
    await add(world, new)
    with pytest.raises(IntegrityError, match="uq_fills"):
        await add(world, traded(world, order, 2, Side.BUY, 1, price="10"), replace(new, id=new_id()))
    async with world.uow.statement() as tx:
        assert await tx.fills.count(world.account.id) == 1


async def test_known_trades_are_those_of_the_orders_asked_for_on_any_day(world: World) -> None:
    order, other = await world.save(world.new_order("one")), await world.save(world.new_order("two"))
    await add(world, *(traded(world, order, n, Side.BUY, 1, price="10") for n in (1, 2)))
    async with world.uow.statement() as tx:
        known = await tx.fills.known_keys(world.account.id, [order.id, other.id])
        assert known == {("NSE", "B1", "1"), ("NSE", "B1", "2")}
        assert not await tx.fills.known_keys(world.account.id, [other.id])
        assert not await tx.fills.known_keys(new_id(), [order.id])


async def test_an_orders_turnover_is_exact(world: World) -> None:
    order = await world.save(world.new_order())
    await add(
        world,
        traded(world, order, 1, Side.BUY, 3, price="182.05"),
        traded(world, order, 2, Side.BUY, 4, price="182.10"),
    )
    async with world.uow.statement() as tx:
        turnovers = await tx.fills.turnovers([order.id, new_id()])
    assert turnovers == {order.id: (7, Decimal("1274.55"))}
    assert type(turnovers[order.id][1]) is Decimal


async def test_fills_move_their_order_and_leave_an_event(world: World) -> None:
    order = await world.save(world.new_order(quantity=10))
    partial = FilledOrder(
        order.id,
        OrderEvent.PARTIAL_FILL,
        OrderStatus.PARTIALLY_FILLED,
        4,
        Decimal("182.05"),
        done=False,
        detail='{"trades": "1"}',
    )
    async with world.uow.transaction() as tx:
        await tx.fills.fill_orders([partial])
    first = await world.order(order)
    assert (first.status, first.filled_quantity, first.remaining_quantity) == (OrderStatus.PARTIALLY_FILLED, 4, 6)
    assert first.stages.done is None
    full = partial._replace(event=OrderEvent.FULL_FILL, status=OrderStatus.COMPLETE, filled_quantity=10, done=True)
    async with world.uow.transaction() as tx:
        await tx.fills.fill_orders([full])
    second = await world.order(order)
    assert second.status is OrderStatus.COMPLETE
    assert second.average_price == Decimal("182.05")
    assert second.stages.done is not None
    assert second.stages.first_fill == first.stages.first_fill is not None
    assert await world.events(order) == ["CREATED", "PARTIAL_FILL", "FULL_FILL"]


async def test_a_position_is_folded_from_its_own_fills_alone(world: World) -> None:
    order = await world.save(world.new_order())
    own = [
        traded(world, order, 1, Side.BUY, 3, price="182.05"),
        traded(world, order, 2, Side.SELL, 1, price="182.10"),
    ]
    delivered = replace(traded(world, order, 3, Side.BUY, 9, price="1"), product=Product.CNC)
    await add(world, own[1], delivered, own[0])
    async with world.uow.statement() as tx:
        fills = await tx.fills.of_position(
            world.account.id, strategy_id=None, instrument_id=world.instrument.id, product=Product.MIS
        )
    assert fold(fills) == fold([new.fill for new in own])
    assert sorted(fills, key=lambda f: f.sort_key) == [new.fill for new in own]


async def test_a_position_comes_back_to_the_last_digit_and_is_replaced_by_its_next_state(world: World) -> None:
    key = PositionKey(world.account.id, None, world.instrument.id, Product.MIS)
    first = Position(
        quantity=-7,
        open_cost=Decimal("-1274.350001"),
        realized_pnl=Decimal("0.921429"),
        fees=Decimal("12.34"),
        buy_quantity=3,
        sell_quantity=10,
        last_fill=(NOON, "B1", "1".rjust(24, "0")),
    )
    async with world.uow.transaction() as tx:
        assert await tx.positions.lock(world.account.id) == {}
        await tx.positions.save([(new_id(), key, first)])
        assert await tx.positions.lock(world.account.id) == {key: first}
        (held,) = await tx.positions.page(account_id=world.account.id, strategy_id=None, open_only=True, limit=5)
        assert (held.key, held.position) == (key, first)
    flat = Position(realized_pnl=Decimal("5.5"), fees=Decimal(20), buy_quantity=10, sell_quantity=10)
    async with world.uow.transaction() as tx:
        await tx.positions.save([(new_id(), key, flat)])
        (again,) = await tx.positions.page(account_id=None, strategy_id=None, open_only=False, limit=5)
        assert (again.id, again.position) == (held.id, flat)
        assert not await tx.positions.page(account_id=None, strategy_id=None, open_only=True, limit=5)
        assert not await tx.positions.page(account_id=None, strategy_id=new_id(), open_only=False, limit=5)
        assert not await tx.positions.of_strategies([new_id()])
        totals = await tx.positions.totals(world.account.id)
    assert totals == (0, Decimal("5.5"), Decimal(20))


async def test_an_account_without_positions_has_earned_nothing(world: World) -> None:
    async with world.uow.statement() as tx:
        assert await tx.positions.totals(world.account.id) == (0, Decimal(0), Decimal(0))


async def test_a_brokers_row_binds_the_order_and_settles_its_unknown_command(world: World) -> None:
    order = await world.save(world.new_order())
    await world.claim(order)
    await world.let_claims_die()
    async with world.uow.statement() as tx:
        await tx.commands.bury_dead(margin_s=2.0, batch=10, actor="keeper")
    async with world.uow.transaction() as tx:
        (locked,) = await tx.orders.lock_by_tag(world.account.id, [order.tag, "SDAAAAAAAAAAAAAAAA"])
        assert (locked.id, locked.status, locked.broker_order_id) == (order.id, OrderStatus.UNKNOWN, None)
        assert (locked.side, locked.product, locked.quantity) == (Side.BUY, Product.MIS, 100)
        seen = OrderChange(order.id, OrderEvent.ACCEPTED, OrderStatus.PLACED, "seen", "B1", "U1", done=False)
        ended = OrderChange(
            order.id, OrderEvent.BROKER_CANCELLED, OrderStatus.CANCELLED, "by the exchange", "B1", "U1", done=True
        )
        await tx.orders.apply([seen, ended])
    assert await world.command_state(order) == "DONE"
    after = await world.order(order)
    assert (after.status, after.status_reason, after.broker_order_id) == (
        OrderStatus.CANCELLED,
        "by the exchange",
        "B1",
    )
    assert after.stages.done is not None
    assert after.stages.acknowledged is not None
    assert (await world.events(order))[-2:] == ["ACCEPTED", "BROKER_CANCELLED"]
    async with world.uow.transaction() as tx:
        assert [o.id for o in await tx.orders.lock_by_broker_id(world.account.id, ["B1", "B2"])] == [order.id]
        assert await tx.orders.lock_by_broker_id(new_id(), ["B1"]) == []


async def test_looking_at_an_order_does_not_wait_for_those_who_hold_it(world: World) -> None:
    order = await world.save(world.new_order())
    await world.execute("UPDATE orders SET broker_order_id = 'B1'")
    async with world.uow.transaction() as holding, world.uow.statement() as looking, asyncio.timeout(5):
        held = await holding.orders.lock_by_tag(world.account.id, [order.tag])
        assert await looking.orders.peek_by_tag(world.account.id, [order.tag]) == held
        assert await looking.orders.peek_by_broker_id(world.account.id, ["B1"]) == held
        assert [one.id for one in held] == [order.id]
