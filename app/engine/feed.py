"""The feed role: sole writer of market data. It keeps the paper market's time, and conducts requested replays."""

import asyncio
from datetime import date

from app.core.ports import Clock
from app.engine.replay import Cast, Conductor, ReplayStuck
from app.infra.clock import ist_day
from app.infra.events import wait_or_timeout
from app.infra.lifecycle import every
from app.infra.logging import get_logger
from app.market_data.paper_market import PaperMarket, PaperMarketError
from app.market_data.sample import NoSuchDay, SampleDay, load_day
from app.repositories.leases import Lease, LeaseLost
from app.repositories.market import MarketStep
from app.repositories.replays import Replay
from app.repositories.unit_of_work import UnitOfWork
from app.services.replays import end_replay

PAPER_SOURCE = "paper"
"""The market of paper accounts that belong to no replay: the exchange as it stands."""

CLOCK_EVERY_S = 1.0
LOOK_EVERY_S = 2.0

log = get_logger(__name__)


class Feed:
    """Runs while it holds the feed's lease."""

    def __init__(
        self, *, uow: UnitOfWork, market: PaperMarket, conductor: Conductor, clock: Clock, requested: asyncio.Event
    ) -> None:
        self._uow = uow
        self._market = market
        self._conductor = conductor
        self._clock = clock
        self._requested = requested

    async def lead(self, lease: Lease, over: asyncio.Event) -> None:
        """Keep the clock and play replays until `over`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(
                every("paper_clock", CLOCK_EVERY_S, over, lambda: self._keep_time(lease), fatal=(LeaseLost,))
            )
            group.create_task(self._play_requests(lease, over))

    async def _keep_time(self, lease: Lease) -> None:
        """Store the exchange's time as the paper market's; while it does not answer, time stands still."""
        found = await self._market.market_time()
        if found.time is None:
            return
        step = int(self._clock.now().timestamp() * 1000)
        async with self._uow.fenced(lease) as tx:
            await tx.market.set_clock(MarketStep(PAPER_SOURCE, step, found.time, ist_day(found.time), []), "[]")

    async def _play_requests(self, lease: Lease, over: asyncio.Event) -> None:
        while not over.is_set():
            async with self._uow.statement() as tx:
                waiting = await tx.replays.open()
            if waiting:
                await self._play(waiting[0], lease, over)
            else:
                await wait_or_timeout(self._requested, LOOK_EVERY_S)

    async def _play(self, replay: Replay, lease: Lease, over: asyncio.Event) -> None:
        log.info("replay.started", source=replay.source, day=str(replay.day))
        try:
            cast = await self._cast(replay)
            day = await asyncio.to_thread(_load, replay.day, cast)
            finished = await self._conductor.play(replay, day, cast, lease, over)
        except (ReplayStuck, PaperMarketError, NoSuchDay) as error:
            log.exception("replay.failed", source=replay.source)
            await self._end(replay, lease, error=str(error))
            return
        if finished:
            await self._end(replay, lease, error=None)
            log.info("replay.done", source=replay.source)

    async def _cast(self, replay: Replay) -> Cast:
        async with self._uow.transaction() as tx:
            stored = await tx.accounts.stored(replay.account_id)
            instruments = {instrument.id: instrument for instrument in await tx.instruments.all()}
            symbols = await tx.instruments.symbols()
        if stored is None:
            raise ReplayStuck("the replay's account is not there any more")
        return Cast(
            account=stored.account,
            instruments={
                symbol.instrument_id: (instruments[symbol.instrument_id], symbol)
                for symbol in symbols
                if symbol.broker == stored.account.broker
            },
        )

    async def _end(self, replay: Replay, lease: Lease, *, error: str | None) -> None:
        async with self._uow.fenced(lease):
            pass  # a former leader must not open the market under its successor's replay
        try:
            # Between replays the paper market is open by the wall clock, at the last prices.
            await self._market.set_mode("free")
        except PaperMarketError as failure:
            log.warning("replay.market_not_freed", error=str(failure))
        async with self._uow.fenced(lease) as tx:
            await end_replay(tx, replay, error=error)


def _load(day: date, cast: Cast) -> SampleDay:
    return load_day(day, {instrument.symbol: key for key, (instrument, _) in cast.instruments.items()})
