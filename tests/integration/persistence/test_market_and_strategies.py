"""Market time only moves on, bars and signals are stored once, and replays end once."""

import json
from datetime import timedelta
from decimal import Decimal

from app.core.bars import Bar, Tick
from app.core.orders import Side
from app.core.replays import ReplayState
from app.core.signals import Signal, SignalKind
from app.infra.ids import new_id
from app.repositories.market import MarketStep
from app.repositories.replays import Replay
from app.repositories.strategies import StoredStrategy
from tests.harness.records import DAY, NOON, World


async def test_market_time_moves_on_and_never_back(world: World) -> None:
    tick = Tick(instrument_id=world.instrument.id, at=NOON, price=Decimal("182.05"), volume=9)
    ticks = json.dumps([{"instrument_id": str(tick.instrument_id), "price": "182.05", "volume": "9"}])
    newest = MarketStep("market", 5, NOON, DAY, [tick])
    async with world.uow.statement() as tx:
        await tx.market.set_clock(newest, ticks)
        await tx.market.set_clock(MarketStep("market", 5, NOON + timedelta(hours=1), DAY, []), "[]")
        await tx.market.set_clock(MarketStep("market", 4, NOON - timedelta(hours=1), DAY, []), "[]")
        assert await tx.market.clock("market") == newest
        assert await tx.market.clock("no such market") is None


def bar(world: World, minute: int, close: str = "101") -> Bar:
    return Bar(
        instrument_id=world.instrument.id,
        start=NOON + timedelta(minutes=minute),
        open=Decimal(100),
        high=Decimal(105),
        low=Decimal(95),
        close=Decimal(close),
        volume=minute,
    )


async def test_a_bar_stays_as_it_was_first_stored_and_bars_come_back_oldest_first(world: World) -> None:
    async with world.uow.statement() as tx:
        await tx.market.add_bars("market", [bar(world, 2), bar(world, 1), bar(world, 3)])
        await tx.market.add_bars("market", [bar(world, 2, close="99")])
        assert await tx.market.count_bars("market") == 3
        assert await tx.market.count_bars("no such market") == 0
        wanted = [world.instrument.id]
        assert await tx.market.bars("market", instrument_ids=wanted, after=None) == [bar(world, n) for n in (1, 2, 3)]
        after = NOON + timedelta(minutes=1)
        assert await tx.market.bars("market", instrument_ids=wanted, after=after) == [bar(world, n) for n in (2, 3)]
        assert await tx.market.bars("market", instrument_ids=[new_id()], after=None) == []


def strategy(world: World, name: str = "cross") -> StoredStrategy:
    return StoredStrategy(
        id=new_id(),
        account_id=world.account.id,
        name=name,
        kind="ema_crossover",
        parameters={"fast": "5"},
        instrument_id=world.instrument.id,
        source="market",
        run="run-1",
        step_done=0,
    )


async def test_a_strategy_is_due_until_it_has_done_the_newest_step(world: World) -> None:
    first, second = strategy(world, "b"), strategy(world, "a")
    async with world.uow.statement() as tx:
        await tx.strategies.add(first)
        await tx.strategies.add(second)
        assert await tx.strategies.due() == [second, first]
        await tx.strategies.mark_step_done("market", 1)
        assert await tx.strategies.due() == []
        await world.set_market_time(NOON + timedelta(minutes=1), step=2)
        assert [one.step_done for one in await tx.strategies.due()] == [1, 1]
        await tx.strategies.mark_step_done("market", 0)
        assert [one.step_done for one in await tx.strategies.due()] == [1, 1]
        await tx.strategies.disable_source("market")
        assert await tx.strategies.due() == []


async def test_the_same_decision_is_stored_once(world: World) -> None:
    one = strategy(world)
    signal = Signal(
        instrument_id=world.instrument.id,
        at=NOON,
        kind=SignalKind.ENTRY,
        side=Side.BUY,
        quantity=100,
        reason="crossed",
        trace={"fast": Decimal("182.05")},
    )
    async with world.uow.statement() as tx:
        await tx.strategies.add(one)
        for _ in range(2):
            await tx.strategies.add_signal(new_id(), one.id, signal, client_order_id="c1", refusal=None)
        await tx.strategies.add_signal(new_id(), one.id, signal, client_order_id="c2", refusal="paused")
        assert await tx.strategies.count_signals(world.account.id) == 2
        assert await tx.strategies.count_signals(new_id()) == 0
    assert (await world.row("SELECT trace FROM signals WHERE refusal IS NULL"))[0] == {"fast": "182.05"}


async def test_what_a_strategy_may_still_trade_counts_unknown_orders_too(world: World) -> None:
    one = strategy(world)
    async with world.uow.statement() as tx:
        await tx.strategies.add(one)
        assert await tx.strategies.open_quantities([one.id]) == {}
    for n, (side, status, filled) in enumerate(
        [("BUY", "UNKNOWN", 0), ("BUY", "PARTIALLY_FILLED", 40), ("SELL", "PENDING", 0), ("SELL", "COMPLETE", 100)]
    ):
        new = await world.save(world.new_order(f"o{n}", side=Side(side), strategy_id=one.id))
        await world.execute(
            "UPDATE orders SET status = :status, filled_quantity = :filled WHERE id = :id",
            {"status": status, "filled": filled, "id": new.id},
        )
    async with world.uow.statement() as tx:
        assert await tx.strategies.open_quantities([one.id]) == {one.id: (160, 100)}


def replay(world: World) -> Replay:
    return Replay(
        id=new_id(),
        account_id=world.account.id,
        source="market",
        day=DAY,
        speed=Decimal(0),
        state=ReplayState.REQUESTED,
        bars_done=0,
        bars_total=0,
        error=None,
        started_at=None,
        finished_at=None,
    )


async def test_a_replay_is_taken_up_carried_on_and_ended_once(world: World) -> None:
    asked = replay(world)
    async with world.uow.statement() as tx:
        await tx.replays.request(asked)
        assert await tx.replays.open() == [asked]
        await tx.replays.start(asked.id, bars_total=1128)
        running = await tx.replays.get(asked.id)
        assert running is not None
        await tx.replays.start(asked.id, bars_total=1128)
        await tx.replays.progress(asked.id, bars_done=12)
        again = await tx.replays.get(asked.id)
        assert again is not None
        assert (again.state, again.bars_done, again.bars_total) == (ReplayState.RUNNING, 12, 1128)
        assert again.started_at == running.started_at is not None
        await tx.replays.finish(asked.id, error=None)
        await tx.replays.finish(asked.id, error="too late to fail")
        ended = await tx.replays.get(asked.id)
        assert ended is not None
        assert (ended.state, ended.error) == (ReplayState.DONE, None)
        assert ended.finished_at is not None
        assert await tx.replays.open() == []
        assert await tx.replays.get(new_id()) is None


async def test_a_replay_that_fails_says_why(world: World) -> None:
    asked = replay(world)
    async with world.uow.statement() as tx:
        await tx.replays.request(asked)
        await tx.replays.finish(asked.id, error="no bars")
        ended = await tx.replays.get(asked.id)
    assert ended is not None
    assert (ended.state, ended.error) == (ReplayState.FAILED, "no bars")


async def test_the_figures_of_an_account_are_counted_from_its_orders(world: World) -> None:
    async with world.uow.statement() as tx:
        assert await tx.replays.figures(world.account.id) == (0, 0, 0, None, None)
    for n, status in enumerate(["REJECTED", "UNKNOWN", "PENDING", "COMPLETE"]):
        new = await world.save(world.new_order(f"o{n}"))
        await world.execute(
            "UPDATE orders SET status = :status, broker_order_id = :broker_id,"
            " acknowledged_at = saved_at + interval '4 milliseconds' WHERE id = :id",
            {"status": status, "broker_id": f"B{n}", "id": new.id},
        )
    async with world.uow.statement() as tx:
        figures = await tx.replays.figures(world.account.id)
        progress = await tx.replays.progress_of(world.account.id, source="market")
    assert figures == (4, 1, 1, Decimal(4), Decimal(4))
    assert (progress.running, progress.slowest_step) == (False, None)
    assert (progress.unsettled, progress.terminal_at_broker, progress.fills) == (1, 2, 0)
