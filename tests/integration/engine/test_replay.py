"""A recorded day played through all roles: the same orders, fills and rupees however it is run and interrupted."""

import asyncio
from contextlib import AsyncExitStack
from datetime import date
from decimal import Decimal

import pytest

from app.bootstrap import feed, keeper, scheduler, worker
from app.bootstrap.paper import replay_service
from app.core.replays import ReplayState
from app.engine import replay as replay_module
from app.engine.replay import Conductor
from app.infra.config import Config
from app.market_data.paper_market import ClientCounts
from app.repositories.replays import Replay
from app.services.replays import ReplayFigures, ReplayService, differences
from tests.harness.desk import Desk, running
from tests.harness.queue import eventually

DAY = date(2019, 1, 1)


class ProcessGoneError(Exception):
    """Stands for the end of a process: no error that a leader leads on after."""


def service_of(desk: Desk) -> ReplayService:
    return replay_service(desk.base, desk.market)


async def until_over(desk: Desk, replay: Replay, *, timeout_s: float = 180) -> Replay:
    async def over() -> bool:
        return (await service_of(desk).get(replay.id)).state in (ReplayState.DONE, ReplayState.FAILED)

    await eventually(over, timeout_s=timeout_s)
    return await service_of(desk).get(replay.id)


async def until_step(desk: Desk, replay: Replay, step: int) -> None:
    async def reached() -> bool:
        async with desk.uow.statement() as tx:
            now = await tx.market.clock(replay.source)
        return now is not None and now.step >= step

    await eventually(reached, timeout_s=180)


async def everything(desk: Desk, replay: Replay) -> tuple[object, ...]:
    """Return all that must be the same in two replays of a day."""
    account = replay.account_id
    orders = await desk.rows(
        """SELECT client_order_id, tag, side, quantity, urgency, validity, status, filled_quantity, average_price,
        market_time FROM orders WHERE account_id = :a ORDER BY client_order_id""",
        a=account,
    )
    fills = await desk.rows(
        """SELECT o.client_order_id, f.side, f.quantity, f.price, f.fees, f.traded_at FROM fills f
        JOIN orders o ON o.id = f.order_id WHERE f.account_id = :a ORDER BY 1, 6, 4, 3""",
        a=account,
    )
    signals = await desk.rows(
        """SELECT s.client_order_id, s.kind, s.reason, s.trace, s.market_time FROM signals s
        JOIN strategies t ON t.id = s.strategy_id WHERE t.account_id = :a ORDER BY 1""",
        a=account,
    )
    positions = await desk.rows(
        """SELECT t.name, p.quantity, p.open_cost, p.realized_pnl, p.fees FROM positions p
        JOIN strategies t ON t.id = p.strategy_id WHERE p.account_id = :a ORDER BY 1""",
        a=account,
    )
    return orders, fills, signals, positions


async def assert_books_agree(desk: Desk, replay: Replay) -> ReplayFigures:
    assert (replay.state, replay.error) == (ReplayState.DONE, None)
    figures = await service_of(desk).figures(replay)
    ledger = await service_of(desk).ledger(replay)
    assert differences(figures, ledger) == []
    assert (figures.orders - figures.rejected, figures.unknown) == (ledger.orders - figures.rejected, 0)
    return figures


async def play(desk: Desk, *, workers: int) -> Replay:
    config = desk.base.config
    async with AsyncExitStack() as stack:
        for role in (keeper.run, scheduler.run, feed.run, *[worker.run] * workers):
            await stack.enter_async_context(running(role, config))
        return await until_over(desk, await service_of(desk).request(DAY, speed=Decimal(0)))


@pytest.mark.timeout(500)  # three replays, traced for coverage on a busy machine
async def test_a_day_replays_to_the_same_rupees_at_any_number_of_workers_and_interrupted(studio: Desk) -> None:
    alone = await play(studio, workers=1)
    figures = await assert_books_agree(studio, alone)
    assert figures.fills > 0
    assert figures.signals >= figures.orders > 2

    many = await play(studio, workers=3)
    await assert_books_agree(studio, many)
    assert await everything(studio, many) == await everything(studio, alone)

    broken = await play_with_interruptions(studio)
    await assert_books_agree(studio, broken)
    assert await everything(studio, broken) == await everything(studio, alone)
    assert broken.bars_done == alone.bars_done > 0


async def play_with_interruptions(desk: Desk) -> Replay:
    """Stop the feed in order once, kill it once, and change the scheduler and the keeper in the middle of the day."""
    config: Config = desk.base.config
    async with running(worker.run, config):
        replay = await service_of(desk).request(DAY, speed=Decimal(0))
        async with running(keeper.run, config), running(scheduler.run, config):
            async with running(feed.run, config):
                await until_step(desk, replay, 60)
            killed = asyncio.create_task(feed.run(config, asyncio.Event()))
            await until_step(desk, replay, 120)
            killed.cancel()  # the lease is not given back
            await asyncio.wait([killed])
        async with running(keeper.run, config), running(scheduler.run, config), running(feed.run, config):
            return await until_over(desk, replay)


@pytest.mark.timeout(300)
async def test_a_feed_killed_between_the_exchanges_step_and_its_own_note_is_taken_up_where_it_was(
    studio: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exchange, and the books with it, are a step ahead of the market's clock when the next feed begins."""
    until_recorded = Conductor._until_recorded
    deaths = 0

    async def die_once(conductor: Conductor, replay: Replay, counts: ClientCounts, *, step: int) -> None:
        nonlocal deaths
        await until_recorded(conductor, replay, counts, step=step)
        if step == 0 and counts.trades and deaths == 0:
            deaths += 1
            raise ProcessGoneError

    monkeypatch.setattr(Conductor, "_until_recorded", die_once)
    monkeypatch.setattr(replay_module, "SETTLE_TIMEOUT_S", 10.0)
    config = studio.base.config
    async with running(keeper.run, config), running(worker.run, config), running(scheduler.run, config):
        replay = await service_of(studio).request(DAY, speed=Decimal(0))
        with pytest.raises(ExceptionGroup) as raised:
            await feed.run(config, asyncio.Event())
        assert raised.group_contains(ProcessGoneError)
        async with running(feed.run, config):
            replay = await until_over(studio, replay)
    assert deaths == 1
    await assert_books_agree(studio, replay)


async def test_a_replay_that_nobody_records_fails_and_says_what_is_missing(
    studio: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_module, "SETTLE_TIMEOUT_S", 0.5)
    async with running(feed.run, studio.base.config):
        replay = await until_over(studio, await service_of(studio).request(DAY, speed=Decimal(0)))
    assert replay.state is ReplayState.FAILED
    assert "Are scheduler, worker and keeper running?" in str(replay.error)
    assert (await studio.account_named(replay.source)).status.value == "PAUSED"
    assert [row["enabled"] for row in await studio.rows("SELECT enabled FROM strategies")] == [False, False]


async def test_a_day_that_is_not_there_fails_and_the_next_replay_goes_on(studio: Desk) -> None:
    async with running(feed.run, studio.base.config):
        replay = await until_over(studio, await service_of(studio).request(date(2019, 1, 5), speed=Decimal(0)))
    assert (replay.state, "no bars" in str(replay.error)) == (ReplayState.FAILED, True)


async def test_without_the_exchange_a_replay_fails_and_says_so(studio: Desk) -> None:
    nowhere = studio.base.config.model_copy(update={"exchange_port": 1})
    async with running(feed.run, nowhere):
        replay = await until_over(studio, await service_of(studio).request(DAY, speed=Decimal(0)))
    assert replay.state is ReplayState.FAILED
    assert "does not answer" in str(replay.error)


async def test_the_paper_market_keeps_the_exchanges_time(studio: Desk) -> None:
    await studio.market.set_mode("free")
    async with running(feed.run, studio.base.config):

        async def ticks() -> bool:
            async with studio.uow.statement() as tx:
                now = await tx.market.clock("paper")
            return now is not None and abs((now.market_time - studio.base.clock.now()).total_seconds()) < 10

        await eventually(ticks, timeout_s=20)
