"""The scheduler: each decision becomes one order, whoever leads and however often a step is worked through."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from app.core.bars import Bar, Tick
from app.core.orders import Side
from app.core.signals import Signal, SignalKind
from app.engine import scheduler as scheduler_module
from app.engine.scheduler import Scheduler
from app.infra.clock import ist_day
from app.infra.ids import new_id
from app.repositories.leases import Lease, LeaseLost
from app.repositories.market import MarketStep
from app.repositories.strategies import StoredStrategy, StrategyRepository
from app.services.account_directory import AccountDirectory
from app.services.instrument_manager import InstrumentManager
from app.strategies.base_strategy import BaseStrategy, Holding
from tests.harness.desk import NOON, Desk, desk
from tests.harness.queue import eventually

MINUTE = timedelta(minutes=1)


class BuyEachBar(BaseStrategy):
    """Buys on every bar while nothing is open; remembers what it was shown."""

    learned: list[Bar]
    traded: list[Bar]

    def __init__(self, instrument_id: UUID) -> None:
        super().__init__(instrument_id)
        self.learned, self.traded = [], []

    def learn(self, bar: Bar) -> None:
        self.learned.append(bar)

    def on_bar(self, bar: Bar, holding: Holding) -> list[Signal]:
        self.traded.append(bar)
        return [
            Signal(
                instrument_id=self.instrument_id,
                at=bar.start,
                kind=SignalKind.ENTRY,
                side=Side.BUY,
                quantity=10 + holding.open_buy,
                reason="a bar",
                trace={"close": bar.close},
            )
        ]

    def on_tick(self, tick: Tick, holding: Holding) -> list[Signal]:
        return []


class Studio:
    """A desk with one strategy, and schedulers that are given it."""

    def __init__(self, made: Desk) -> None:
        self.desk = made
        self.built: list[BuyEachBar] = []
        self.step = 0

    def build(self, kind: str, *, instrument_id: UUID, parameters: dict[str, str]) -> BaseStrategy:
        self.built.append(BuyEachBar(instrument_id))
        return self.built[-1]

    def scheduler(self) -> Scheduler:
        return Scheduler(
            uow=self.desk.uow,
            orders=self.desk.orders,
            accounts=AccountDirectory(self.desk.uow),
            instruments=InstrumentManager(self.desk.uow),
            bell=self.desk.base.bell,
            wake=asyncio.Event(),
        )

    async def close_bars(self, count: int = 1) -> None:
        """Let the market close so many bars, one a step."""
        for _ in range(count):
            self.step += 1
            start = NOON + self.step * MINUTE
            price = Decimal(180 + self.step)
            bar = Bar(
                instrument_id=self.desk.instruments["YESBANK"].id,
                start=start,
                open=price,
                high=price,
                low=price,
                close=price,
                volume=1,
            )
            async with self.desk.uow.transaction() as tx:
                await tx.market.add_bars("paper", [bar])
                at = start + timedelta(seconds=59)
                await tx.market.set_clock(MarketStep("paper", self.step + 1, at, ist_day(at), []), "[]")

    async def work_off(self, scheduler: Scheduler, lease: Lease) -> None:
        """Let a leader work until all steps are done."""
        over = asyncio.Event()
        leading = asyncio.create_task(scheduler.lead(lease, over))

        async def done() -> bool:
            if leading.done():
                await leading
            return not await self._due()

        try:
            await eventually(done)
        finally:
            over.set()
            scheduler._wake.set()
            await asyncio.wait([leading])

    async def _due(self) -> bool:
        async with self.desk.uow.statement() as tx:
            return bool(await tx.strategies.due())


@pytest.fixture
async def studio(database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Studio]:
    async with desk(database_url, redis_url) as made:
        studio = Studio(made)
        monkeypatch.setattr(scheduler_module, "build_strategy", studio.build)
        async with made.uow.transaction() as tx:
            await tx.strategies.add(
                StoredStrategy(
                    id=new_id(),
                    account_id=(await made.account_named()).id,
                    name="s",
                    kind="buy_each_bar",
                    parameters={},
                    instrument_id=made.instruments["YESBANK"].id,
                    source="paper",
                    run="r1",
                    step_done=1,
                )
            )
        yield studio


async def test_each_decision_becomes_one_order_and_one_signal(studio: Studio) -> None:
    scheduler, lease = studio.scheduler(), await studio.desk.lease("scheduler")
    for _ in range(3):
        await studio.close_bars()
        await studio.work_off(scheduler, lease)
    assert (await studio.desk.count("orders"), await studio.desk.count("signals")) == (3, 3)
    orders = await studio.desk.rows("SELECT caller, urgency, validity, order_type, strategy_id FROM orders")
    assert {(row["urgency"], row["validity"], row["order_type"]) for row in orders} == {("NORMAL", "IOC", "MARKET")}
    assert all(row["caller"] == f"strategy:{row['strategy_id']}" for row in orders)
    assert len(studio.desk.doorbell.rings) == 3


async def test_two_leaders_on_one_step_place_once(studio: Studio) -> None:
    await studio.close_bars()
    leases = [await studio.desk.lease(role) for role in ("scheduler", "second", "third")]
    await asyncio.gather(*(studio.work_off(studio.scheduler(), lease) for lease in leases))
    assert (await studio.desk.count("orders"), await studio.desk.count("signals")) == (1, 1)


async def test_a_leader_that_dies_between_its_order_and_its_note_leaves_one_order(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next leader decides again, with another quantity, as the first order is open by now: still one order."""
    await studio.close_bars()
    lease = await studio.desk.lease("scheduler")

    async def dies(repository: StrategyRepository, source: str, step: int) -> None:
        raise ConnectionResetError("the process is gone")

    with monkeypatch.context() as patched:
        patched.setattr(StrategyRepository, "mark_step_done", dies)
        with pytest.raises(ConnectionResetError):
            await studio.work_off(studio.scheduler(), lease)
    assert (await studio.desk.count("orders"), await studio.desk.count("signals")) == (1, 0)
    await studio.work_off(studio.scheduler(), lease)
    orders = await studio.desk.rows("SELECT quantity FROM orders")
    assert [row["quantity"] for row in orders] == [10]
    assert await studio.desk.count("signals") == 1


async def test_a_fresh_leader_learns_the_day_so_far_and_trades_only_on_what_is_new(studio: Studio) -> None:
    await studio.close_bars(5)
    lease = await studio.desk.lease("scheduler")
    await studio.work_off(studio.scheduler(), lease)
    (first,) = studio.built
    assert (len(first.learned), len(first.traded)) == (4, 1)
    await studio.close_bars()
    await studio.work_off(studio.scheduler(), lease)
    second = studio.built[1]
    assert [bar.start for bar in second.learned] == [bar.start for bar in first.learned + first.traded]
    assert len(second.traded) == 1
    assert await studio.desk.count("orders") == 2


async def test_a_refused_order_is_noted_with_its_reason_and_the_day_goes_on(studio: Studio) -> None:
    scheduler, lease = studio.scheduler(), await studio.desk.lease("scheduler")
    await studio.desk.pause(await studio.desk.account_named())
    await studio.close_bars()
    await studio.work_off(scheduler, lease)
    (signal,) = await studio.desk.rows("SELECT refusal, trace FROM signals")
    assert signal["refusal"] == "the account is paused and takes no orders"
    assert signal["trace"] == {"close": "181.000000"}
    assert await studio.desk.count("orders") == 0
    await studio.desk.execute("UPDATE broker_accounts SET status = 'ACTIVE'")
    await studio.close_bars()
    await studio.work_off(scheduler, lease)
    assert await studio.desk.count("orders") == 1


async def test_a_decision_that_can_never_be_an_order_is_noted_and_stops_nothing(studio: Studio) -> None:
    await studio.desk.execute("UPDATE instruments SET lot_size = 75 WHERE symbol = 'YESBANK'")
    await studio.close_bars()
    await studio.work_off(studio.scheduler(), await studio.desk.lease("scheduler"))
    (signal,) = await studio.desk.rows("SELECT refusal FROM signals")
    assert "lot size" in signal["refusal"]


async def test_a_leader_that_lost_its_lease_notes_nothing(studio: Studio) -> None:
    await studio.close_bars()
    old = await studio.desk.lease("scheduler", holder="old", ttl_s=0.0)
    await studio.desk.lease("scheduler", holder="new")
    with pytest.raises(LeaseLost):
        await studio.work_off(studio.scheduler(), old)
    assert await studio.desk.count("signals") == 0
    (strategy,) = await studio.desk.rows("SELECT step_done FROM strategies")
    assert strategy["step_done"] == 1
