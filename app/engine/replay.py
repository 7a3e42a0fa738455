"""The lock-step conductor: plays a recorded day, and takes a step only when everything of the step before is recorded.

A minute is four steps: its open, its two extremes, its close (`Bar.prices` says in which order). In each step the
exchange moves its prices and matches what had arrived, sorted by tag; the fills come into our books; clock and bars
are stored; the strategies decide; their orders reach the exchange and wait there for the next step. So the same day
gives the same orders, fills and rupees at any number of workers.
"""

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from app.core.accounts import Account
from app.core.bars import Bar, Tick
from app.core.instruments import BrokerSymbol, Instrument
from app.core.ports import Clock
from app.engine.pace import Pace
from app.infra.events import Channel, EventBell, wait_or_timeout
from app.infra.logging import get_logger
from app.market_data.last_prices import LastPrices
from app.market_data.paper_market import ClientCounts, PaperMarket, PriceStep
from app.market_data.sample import SampleDay
from app.repositories.leases import Lease
from app.repositories.market import MarketStep
from app.repositories.replays import Replay
from app.repositories.unit_of_work import UnitOfWork

STEP_OFFSETS = (timedelta(0), timedelta(seconds=20), timedelta(seconds=40), timedelta(seconds=59))
"""Where in its minute each of the four prices stands."""

SETTLE_TIMEOUT_S = 60.0
"""A step that is not recorded by then never will be: something is down, and the replay says so."""

SAFETY_PASS_S = 0.25
PROGRESS_EVERY_BARS = 20


class ReplayStuck(Exception):
    """The replay cannot go on: a step was not recorded in time, or nobody wants it any more."""


log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Who takes part: the replay's account, and each instrument with its symbol at the exchange."""

    account: Account
    instruments: dict[UUID, tuple[Instrument, BrokerSymbol]]


class Conductor:
    """Conducts one replay at a time."""

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        market: PaperMarket,
        prices: LastPrices,
        bell: EventBell,
        progress: asyncio.Event,
        clock: Clock,
    ) -> None:
        self._uow = uow
        self._market = market
        self._prices = prices
        self._bell = bell
        self._progress = progress
        self._clock = clock
        self._recorded = ClientCounts(orders=0, trades=0, terminal=0)

    async def play(self, replay: Replay, day: SampleDay, cast: Cast, lease: Lease, over: asyncio.Event) -> bool:
        """Play a day to its end; false where `over` came first. A replay that was interrupted goes on where it was.

        Raises `ReplayStuck`, `PaperMarketError` and `LeaseLost`.
        """
        async with self._uow.fenced(lease) as tx:
            await tx.replays.start(replay.id, bars_total=day.bar_count)
            reached = await tx.market.clock(replay.source)
        done_steps = reached.step if reached else 0
        await self._market.set_mode("lockstep")
        self._recorded = ClientCounts(orders=0, trades=0, terminal=0)
        pace = Pace(replay.speed, clock=self._clock)
        bars_done, step = 0, 0
        for start, bars in day.minutes:
            for part, offset in enumerate(STEP_OFFSETS):
                step += 1
                if step < done_steps:
                    continue
                if not await pace.wait(over):
                    return False
                closed = bars if part == len(STEP_OFFSETS) - 1 else []
                moment = MarketStep(replay.source, step, start + offset, day.day, _ticks(bars, part, start + offset))
                await self._step(moment, closed, replay, cast, lease)
            bars_done += len(bars)
            if bars_done % PROGRESS_EVERY_BARS < len(bars):
                async with self._uow.fenced(lease) as tx:
                    await tx.replays.progress(replay.id, bars_done=bars_done)
        await self._finish(replay, day, step + 1, cast, lease)
        return True

    async def _finish(self, replay: Replay, day: SampleDay, step: int, cast: Cast, lease: Lease) -> None:
        """One more step at the last prices, so that orders of the last close still meet a price."""
        start, bars = day.minutes[-1]
        moment = MarketStep(
            replay.source,
            step,
            start + STEP_OFFSETS[-1] + timedelta(milliseconds=500),
            day.day,
            _ticks(bars, len(STEP_OFFSETS) - 1, start + STEP_OFFSETS[-1]),
        )
        await self._step(moment, [], replay, cast, lease)
        async with self._uow.fenced(lease) as tx:
            await tx.replays.progress(replay.id, bars_done=day.bar_count)

    async def _step(self, moment: MarketStep, closed: list[Bar], replay: Replay, cast: Cast, lease: Lease) -> None:
        answer = await self._market.step(
            run=replay.source, step=moment.step, time=moment.market_time, prices=_prices(moment.ticks, cast)
        )
        counts = answer.clients.get(cast.account.client_code, ClientCounts(orders=0, trades=0, terminal=0))
        # The step before ended with everything recorded: without new fills or ends there is nothing to wait for.
        if (counts.trades, counts.terminal) != (self._recorded.trades, self._recorded.terminal):
            await self._until_recorded(replay, counts, step=0)
        ticks_json = json.dumps(
            [
                {"instrument_id": str(tick.instrument_id), "price": str(tick.price), "volume": str(tick.volume)}
                for tick in moment.ticks
            ]
        )
        async with self._uow.fenced(lease) as tx:
            if closed:
                await tx.market.add_bars(replay.source, closed)
            await tx.market.set_clock(moment, ticks_json)
        await self._prices.write(replay.source, moment.ticks)
        await self._bell.ring(Channel.MARKET)
        await self._until_recorded(replay, counts, step=moment.step)
        self._recorded = counts

    async def _until_recorded(self, replay: Replay, counts: ClientCounts, *, step: int) -> None:
        """Wait until all strategies have done `step`, and our books say what the exchange counts."""
        give_up = self._clock.monotonic() + SETTLE_TIMEOUT_S
        while True:
            self._progress.clear()
            async with self._uow.statement() as tx:
                now = await tx.replays.progress_of(replay.account_id, source=replay.source)
            if not now.running:
                raise ReplayStuck("given up for a newer replay")
            decided = now.slowest_step is None or now.slowest_step >= step
            # More than that where a feed was killed after it took the next step: what it waits for is in the books.
            recorded = now.fills >= counts.trades and now.terminal_at_broker >= counts.terminal
            if decided and recorded and now.unsettled == 0:
                return
            if self._clock.monotonic() > give_up:
                raise ReplayStuck(
                    f"step {step}: strategies have done {now.slowest_step}; orders on their way: {now.unsettled}; "
                    f"fills: {now.fills} here, {counts.trades} at the exchange; ended orders: "
                    f"{now.terminal_at_broker} here, {counts.terminal} at the exchange. "
                    "Are scheduler, worker and keeper running? See logs/"
                )
            if not await wait_or_timeout(self._progress, SAFETY_PASS_S):
                await self._bell.ring(Channel.MARKET)


def _ticks(bars: list[Bar], part: int, at: datetime) -> list[Tick]:
    """Return one price of each bar; a minute's volume is spread over its four prices, the rest on the last."""
    ticks = []
    for bar in bars:
        quarter = bar.volume // len(STEP_OFFSETS)
        last = part == len(STEP_OFFSETS) - 1
        volume = bar.volume - quarter * (len(STEP_OFFSETS) - 1) if last else quarter
        ticks.append(Tick(instrument_id=bar.instrument_id, at=at, price=bar.prices()[part], volume=volume))
    return ticks


def _prices(ticks: list[Tick], cast: Cast) -> list[PriceStep]:
    steps = []
    for tick in ticks:
        instrument, symbol = cast.instruments[tick.instrument_id]
        steps.append(PriceStep(instrument.exchange, symbol.token, tick.price, tick.volume))
    return steps
