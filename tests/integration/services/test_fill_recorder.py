"""Trades into the books: each once, with its order and its position, whatever order they come in."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from app.core.orders import OrderStatus, Product, Side
from app.core.ports import BrokerOrder, BrokerOrderState, BrokerTrade
from app.infra.fee_schedules import load_fee_schedules
from app.infra.ids import new_id
from app.repositories.leases import LeaseLost
from app.repositories.positions import HeldPosition
from app.repositories.strategies import StoredStrategy
from app.services.fill_recorder import FillRecorder, Recorded
from app.services.order_updates import OrderUpdates
from tests.harness.desk import NOON, Desk, a_trade


def recorder(desk: Desk) -> FillRecorder:
    return FillRecorder(uow=desk.uow, fee_schedules=load_fee_schedules("angelone"))


async def record(desk: Desk, *trades: BrokerTrade) -> Recorded:
    account = await desk.account_named()
    return await recorder(desk).record(account.id, trades, await desk.lease())


async def positions(desk: Desk) -> list[HeldPosition]:
    async with desk.uow.statement() as tx:
        return await tx.positions.page(account_id=None, strategy_id=None, open_only=False, limit=50)


async def add_strategy(desk: Desk, name: str) -> UUID:
    strategy = StoredStrategy(
        id=new_id(),
        account_id=(await desk.account_named()).id,
        name=name,
        kind="ema_crossover",
        parameters={},
        instrument_id=desk.instruments["YESBANK"].id,
        source="paper",
        run="r",
        step_done=0,
    )
    async with desk.uow.transaction() as tx:
        await tx.strategies.add(strategy)
    return strategy.id


async def test_fills_complete_an_order_step_by_step(plain_desk: Desk) -> None:
    order_id = await plain_desk.placed("B1", quantity=10)
    first = await record(plain_desk, a_trade("B1", "1", 4, "182.60"))
    assert (len(first.new), first.unmatched) == (1, ())
    order = await plain_desk.order(order_id)
    assert (order.status, order.filled_quantity) == (OrderStatus.PARTIALLY_FILLED, 4)
    await record(plain_desk, a_trade("B1", "2", 6, "182.70"))
    order = await plain_desk.order(order_id)
    assert (order.status, order.average_price) == (OrderStatus.COMPLETE, Decimal("182.66"))
    assert order.stages.done is not None
    assert await plain_desk.events(order_id) == ["CREATED", "PARTIAL_FILL", "FULL_FILL"]
    (held,) = await positions(plain_desk)
    assert (held.position.quantity, held.position.average_price) == (10, Decimal("182.66"))


async def test_the_same_trades_again_change_nothing(plain_desk: Desk) -> None:
    order_id = await plain_desk.placed("B1", quantity=10)
    trades = [a_trade("B1", "1", 4), a_trade("B1", "2", 6)]
    await record(plain_desk, *trades)
    before = (await plain_desk.order(order_id), await positions(plain_desk), await plain_desk.events(order_id))
    for _ in range(3):
        again = await record(plain_desk, *trades)
        assert (again.new, again.unmatched) == ((), ())
    assert (await plain_desk.order(order_id), await positions(plain_desk), await plain_desk.events(order_id)) == before


async def test_a_book_that_names_a_trade_twice_makes_one_fill(plain_desk: Desk) -> None:
    order_id = await plain_desk.placed("B1", quantity=10)
    await record(plain_desk, a_trade("B1", "1", 4), a_trade("B1", "1", 4))
    assert (await plain_desk.order(order_id)).filled_quantity == 4
    assert await plain_desk.count("fills") == 1


async def test_concurrent_same_symbol(plain_desk: Desk) -> None:
    """Orders of one symbol filled by several recorders at once lose no update and count nothing twice."""
    orders = [await plain_desk.placed(f"B{n}", quantity=10) for n in range(6)]
    trades = [a_trade(f"B{n}", str(10 * n + part), 5) for n in range(6) for part in (1, 2)]
    account, lease = await plain_desk.account_named(), await plain_desk.lease()

    async def one(some: Sequence[BrokerTrade]) -> None:
        for _ in range(20):
            try:
                await recorder(plain_desk).record(account.id, some, lease)
            except Exception as error:  # noqa: BLE001  two recorders may meet on a key: the loser tries again
                assert "uq_fills" in str(error) or "pk_fills" in str(error) or "uq_positions" in str(error)  # noqa: PT017
                continue
            return

    await asyncio.gather(one(trades[:8]), one(trades[4:]), one(trades[::-1]), one(trades[::2]))
    assert [(await plain_desk.order(order_id)).status for order_id in orders] == [OrderStatus.COMPLETE] * 6
    (held,) = await positions(plain_desk)
    assert (held.position.quantity, held.position.buy_quantity) == (60, 60)


async def test_trade_numbers_belong_to_their_order(plain_desk: Desk) -> None:
    await plain_desk.placed("B1", quantity=30)
    await plain_desk.placed("B2", quantity=10)
    done = await record(plain_desk, a_trade("B1", "1", 10), a_trade("B2", "1", 10))
    assert len(done.new) == 2


async def test_a_trade_that_is_read_again_under_another_day_is_not_another_trade(plain_desk: Desk) -> None:
    """Trade rows carry no date: around midnight, and where the market's clock lagged, one is given two."""
    order_id = await plain_desk.placed("B1", quantity=20)
    await record(plain_desk, a_trade("B1", "1", 10))
    tomorrow = {"traded_at": NOON + timedelta(days=1), "trade_date": NOON.date() + timedelta(days=1)}
    done = await record(plain_desk, a_trade("B1", "1", 10, **tomorrow), a_trade("B1", "2", 10, **tomorrow))
    assert [trade.trade_id for trade in done.new] == ["2"]
    order = await plain_desk.order(order_id)
    assert (order.filled_quantity, order.status) == (20, OrderStatus.COMPLETE)


async def test_the_order_of_arrival_changes_neither_position_nor_profit_nor_fees(plain_desk: Desk) -> None:
    trades = [
        a_trade("BUY", "1", 10, "180.00", traded_at=NOON),
        a_trade("SELL", "2", 25, "183.50", side=Side.SELL, traded_at=NOON + timedelta(seconds=1)),
        a_trade("BUY", "3", 20, "181.05", traded_at=NOON + timedelta(seconds=2)),
    ]
    results = set()
    accounts = [await plain_desk.add_account(f"a{number}") for number in range(6)]
    for account, order in zip(accounts, itertools.permutations(trades), strict=True):
        name = account.name
        await plain_desk.placed("BUY", account=name, quantity=30)
        await plain_desk.placed("SELL", account=name, quantity=25, side=Side.SELL)
        for trade in order:
            await recorder(plain_desk).record(account.id, [trade], await plain_desk.lease())
        async with plain_desk.uow.statement() as tx:
            (held,) = await tx.positions.page(account_id=account.id, strategy_id=None, open_only=False, limit=9)
        results.add(held.position)
    (position,) = results
    assert (position.quantity, position.buy_quantity, position.sell_quantity) == (5, 30, 25)
    assert position.last_fill == (trades[2].traded_at, "BUY", "3".rjust(24, "0"))


async def test_a_fill_before_the_placement_answer_waits_for_its_order_and_is_bound_by_the_tag(plain_desk: Desk) -> None:
    answer = await plain_desk.place()
    command = await plain_desk.command(answer.order_id)
    async with plain_desk.uow.statement() as tx:
        await tx.commands.claim(command["id"], worker="w", window_s=5, rung_at=None)
    early = await record(plain_desk, a_trade("B1", "1", 10))
    assert (early.new, len(early.unmatched)) == ((), 1)
    row = BrokerOrder(
        broker_order_id="B1",
        broker_unique_id=None,
        tag=answer.tag,
        exchange=a_trade("B1", "1").exchange,
        trading_symbol="YESBANK-EQ",
        side=Side.BUY,
        quantity=10,
        filled_quantity=10,
        average_price=Decimal("182.65"),
        state=BrokerOrderState.COMPLETE,
        raw_status="complete",
        text="",
    )
    account = await plain_desk.account_named()
    applied = await OrderUpdates(uow=plain_desk.uow).apply(account.id, [row], await plain_desk.lease())
    assert applied.trades_missing
    assert len((await record(plain_desk, a_trade("B1", "1", 10))).new) == 1
    assert await plain_desk.status(answer.order_id) == "COMPLETE"


async def test_a_strangers_trade_is_reported_and_touches_nothing(plain_desk: Desk) -> None:
    stranger = a_trade("manual", "77", 5)
    done = await record(plain_desk, stranger)
    assert (done.new, done.unmatched) == ((), (stranger,))
    assert await plain_desk.count("fills") == 0


async def test_more_traded_than_ordered_is_counted_as_it_is(plain_desk: Desk) -> None:
    order_id = await plain_desk.placed("B1", quantity=10)
    await record(plain_desk, a_trade("B1", "1", 10), a_trade("B1", "2", 5))
    await record(plain_desk, a_trade("B1", "3", 1))
    order = await plain_desk.order(order_id)
    assert (order.status, order.filled_quantity, order.intent.quantity) == (OrderStatus.COMPLETE, 16, 10)
    (held,) = await positions(plain_desk)
    assert held.position.quantity == 16


async def test_a_trade_counts_even_where_the_table_knows_no_such_step(plain_desk: Desk) -> None:
    order_id = await plain_desk.placed("B1", quantity=10)
    await plain_desk.execute("UPDATE orders SET status = 'PENDING'")
    await record(plain_desk, a_trade("B1", "1", 10))
    order = await plain_desk.order(order_id)
    assert (order.status, order.filled_quantity) == (OrderStatus.PENDING, 10)


async def test_close_only_my_strategy(plain_desk: Desk) -> None:
    """Two strategies and a person hold the same share: the fills of one never touch the position of another."""
    mine, other = await add_strategy(plain_desk, "mine"), await add_strategy(plain_desk, "other")
    await plain_desk.placed("M1", quantity=10, strategy_id=mine)
    await plain_desk.placed("O1", quantity=20, strategy_id=other)
    await plain_desk.placed("P1", quantity=40)
    await plain_desk.placed("C1", quantity=5, product=Product.CNC)
    await record(
        plain_desk, a_trade("M1", "1", 10), a_trade("O1", "2", 20), a_trade("P1", "3", 40), a_trade("C1", "4", 5)
    )
    await plain_desk.placed("M2", quantity=10, strategy_id=mine, side=Side.SELL)
    await record(plain_desk, a_trade("M2", "5", 10, "183.00", side=Side.SELL))
    held = {(one.key.strategy_id, one.key.product): one.position for one in await positions(plain_desk)}
    assert {key: position.quantity for key, position in held.items()} == {
        (mine, Product.MIS): 0,
        (other, Product.MIS): 20,
        (None, Product.MIS): 40,
        (None, Product.CNC): 5,
    }
    assert held[mine, Product.MIS].realized_pnl == Decimal("3.50")
    assert held[other, Product.MIS].realized_pnl == 0


async def test_a_keeper_that_lost_its_lease_writes_nothing(plain_desk: Desk) -> None:
    order_id = await plain_desk.placed("B1", quantity=10)
    old = await plain_desk.lease(holder="old", ttl_s=0.0)
    await plain_desk.lease(holder="new")
    account = await plain_desk.account_named()
    with pytest.raises(LeaseLost):
        await recorder(plain_desk).record(account.id, [a_trade("B1", "1", 10)], old)
    assert await plain_desk.status(order_id) == "PLACED"
    assert (await plain_desk.count("fills"), await plain_desk.count("positions")) == (0, 0)


async def test_a_long_book_is_recorded_in_batches(plain_desk: Desk) -> None:
    await plain_desk.placed("B1", quantity=450)
    trades = [a_trade("B1", str(n), 1, traded_at=NOON + timedelta(milliseconds=n)) for n in range(450)]
    assert len((await record(plain_desk, *trades[::-1])).new) == 450
    (held,) = await positions(plain_desk)
    assert held.position.quantity == 450
    fees = (await plain_desk.rows("SELECT sum(fees) AS fees FROM fills"))[0]["fees"]
    whole = [replace(a_trade("B1", "1", 450), broker_order_id="B9")]
    await plain_desk.placed("B9", quantity=450)
    await record(plain_desk, *whole)
    assert (await plain_desk.rows("SELECT sum(fees) AS fees FROM fills"))[0]["fees"] == 2 * fees
