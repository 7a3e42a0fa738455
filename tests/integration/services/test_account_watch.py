"""One account's watch over a scripted broker: how it comes back after its stream was lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from app.core.errors import BrokerUnreadable
from app.core.ports import BrokerOrder, BrokerSession, BrokerTrade
from app.infra.fee_schedules import load_fee_schedules
from app.keeper import account_watch
from app.keeper.account_watch import AccountWatch
from app.keeper.settler import Settler
from app.services.broker_pool import BrokerPool
from app.services.fill_recorder import FillRecorder
from app.services.order_updates import OrderUpdates
from app.services.settlement import Settlement
from tests.harness.desk import a_trade
from tests.integration.services.conftest import Floor, OneBroker


class _Pool(OneBroker):
    def set_trading_day(self, *_args: object) -> None:
        """The scripted broker's trades carry their day."""


async def a_watch(floor: Floor) -> AccountWatch:
    account, lease = await floor.desk.account_named(), await floor.desk.lease()
    updates = OrderUpdates(uow=floor.desk.uow)
    return AccountWatch(
        account,
        uow=floor.desk.uow,
        brokers=cast(BrokerPool, _Pool(floor.guarded)),
        updates=updates,
        settler=Settler(
            account,
            settlement=Settlement(uow=floor.desk.uow, doorbell=floor.desk.doorbell),
            updates=updates,
            lease=lease,
            clock=floor.desk.base.clock,
            horizon_s=14.0,
        ),
        recorder=FillRecorder(uow=floor.desk.uow, fee_schedules=load_fee_schedules("angelone")),
        lease=lease,
        clock=floor.desk.base.clock,
        bell=floor.desk.base.bell,
        reads_per_second=50.0,
        unsettled_read_s=0.5,
    )


async def test_a_stream_that_worked_is_opened_again_soon_however_often_it_was_lost(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, failures, enough = 0, list[int](), asyncio.Event()

    @asynccontextmanager
    async def lost_after_a_while(_session: BrokerSession) -> AsyncIterator[AsyncIterator[BrokerOrder]]:
        nonlocal opened
        opened += 1

        async def nothing() -> AsyncIterator[BrokerOrder]:
            raise BrokerUnreadable("the stream is lost")
            yield

        yield nothing()

    def noted(count: int, *, base_s: float, cap_s: float) -> float:
        failures.append(count)
        if len(failures) == 5:
            enough.set()
        return 0.001

    monkeypatch.setattr(floor.broker, "order_updates", lost_after_a_while)
    monkeypatch.setattr(account_watch, "backoff_s", noted)
    watch = await a_watch(floor)
    stop = asyncio.Event()
    running = asyncio.create_task(watch.run(stop))
    async with asyncio.timeout(10):
        await enough.wait()
        stop.set()
        await running
    assert failures[:5] == [1] * 5
    assert opened >= 5


async def test_a_trade_that_is_nobodys_is_looked_for_ever_less_often(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trade made by hand must not keep the keeper reading the trade book at its full rate for ever."""
    read_at, enough = list[float](), asyncio.Event()

    async def the_book(_session: BrokerSession) -> list[BrokerTrade]:
        read_at.append(floor.desk.base.clock.monotonic())
        if len(read_at) == 6:
            enough.set()
        return [a_trade("by-hand", "1")]

    @asynccontextmanager
    async def quiet(_session: BrokerSession) -> AsyncIterator[AsyncIterator[BrokerOrder]]:
        async def nothing() -> AsyncIterator[BrokerOrder]:
            await asyncio.Event().wait()
            yield cast(BrokerOrder, None)

        yield nothing()

    monkeypatch.setattr(floor.broker, "trade_book", the_book)
    monkeypatch.setattr(floor.broker, "order_updates", quiet)
    stop = asyncio.Event()
    running = asyncio.create_task((await a_watch(floor)).run(stop))
    async with asyncio.timeout(20):
        await enough.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    # Half of what it waits: on a busy machine the read before begins later than its turn.
    assert read_at[5] - read_at[4] >= 0.02 * 2**3
