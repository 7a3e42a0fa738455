"""Leaders in trouble end their work, and what they no longer lead they leave alone."""

import asyncio
from datetime import date
from decimal import Decimal
from typing import cast

import pytest
from sqlalchemy.exc import InterfaceError

from app.core.replays import ReplayState
from app.engine.feed import Feed
from app.engine.replay import Conductor
from app.infra.ids import new_id
from app.market_data.paper_market import PaperMarket, PaperMarketError
from app.repositories.leases import Lease, LeaseLost, LeaseRepository
from app.repositories.replays import Replay
from app.services.leadership import Leadership
from tests.harness.desk import Desk


async def test_a_leader_whose_renewals_break_ends_its_work(plain_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_self: LeaseRepository, _lease: Lease, *, ttl_s: float) -> bool:
        raise RuntimeError(f"a bug, not the database: {ttl_s}")

    async def work(_lease: Lease, over: asyncio.Event) -> None:
        await over.wait()

    monkeypatch.setattr(LeaseRepository, "renew", broken)
    leadership = Leadership(uow=plain_desk.uow, clock=plain_desk.base.clock, role="keeper", holder="a", ttl_s=0.4)
    async with asyncio.timeout(10):
        with pytest.raises(RuntimeError, match="a bug"):
            await leadership.run(asyncio.Event(), work)


async def test_a_leader_that_loses_the_database_at_work_leads_again_from_what_is_stored(plain_desk: Desk) -> None:
    leases: list[Lease] = []
    stop = asyncio.Event()

    async def work(lease: Lease, over: asyncio.Event) -> None:
        leases.append(lease)
        async with asyncio.TaskGroup() as group:
            group.create_task(over.wait())
            if len(leases) == 1:
                raise InterfaceError("SELECT 1", None, ConnectionError("the underlying connection is closed"))
            stop.set()

    leadership = Leadership(uow=plain_desk.uow, clock=plain_desk.base.clock, role="scheduler", holder="a", ttl_s=0.4)
    async with asyncio.timeout(10):
        await leadership.run(stop, work)
    assert len(leases) == 2


async def test_a_bug_among_the_failures_of_a_leader_is_not_taken_for_an_absent_database(plain_desk: Desk) -> None:
    async def work(_lease: Lease, _over: asyncio.Event) -> None:
        raise ExceptionGroup("", [ConnectionError("away"), ExceptionGroup("", [KeyError("a bug")])])

    leadership = Leadership(uow=plain_desk.uow, clock=plain_desk.base.clock, role="scheduler", holder="a", ttl_s=0.4)
    async with asyncio.timeout(10):
        with pytest.raises(ExceptionGroup):
            await leadership.run(asyncio.Event(), work)


class Stage:
    """The market and the conductor of a feed: the one notes its modes, the other fails."""

    def __init__(self) -> None:
        self.modes: list[str] = []

    async def set_mode(self, mode: str) -> None:
        self.modes.append(mode)

    async def play(self, *_args: object) -> bool:
        raise PaperMarketError("step 5 comes after step 9")


@pytest.mark.parametrize("leads", [True, False])
async def test_a_feed_that_fell_behind_does_not_open_the_market_under_its_successor(
    plain_desk: Desk, *, leads: bool
) -> None:
    stage, account = Stage(), await plain_desk.account_named()
    replay = Replay(
        id=new_id(),
        account_id=account.id,
        source="run",
        day=date(2019, 1, 1),
        speed=Decimal(0),
        state=ReplayState.RUNNING,
        bars_done=0,
        bars_total=0,
        error=None,
        started_at=None,
        finished_at=None,
    )
    feed = Feed(
        uow=plain_desk.uow,
        market=cast(PaperMarket, stage),
        conductor=cast(Conductor, stage),
        clock=plain_desk.base.clock,
        requested=asyncio.Event(),
    )
    lease = await plain_desk.lease("feed", ttl_s=60.0 if leads else 0.0)
    if leads:
        await feed._play(replay, lease, asyncio.Event())
    else:
        await plain_desk.lease("feed", holder="successor")
        with pytest.raises(LeaseLost):
            await feed._play(replay, lease, asyncio.Event())
    assert stage.modes == (["free"] if leads else [])
