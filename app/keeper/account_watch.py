"""Watches one account at its broker: order stream, catch-up from the books, and fills into our books."""

import asyncio
from collections.abc import AsyncIterator

from app.brokers.base import EndpointGroup
from app.brokers.guarded import GuardedBroker
from app.core.accounts import Account
from app.core.errors import BrokerUnreadable, SessionDead
from app.core.ports import BrokerOrder, BrokerSession, BrokerTrade, Clock
from app.infra.backoff import backoff_s
from app.infra.events import Channel, EventBell, wait_or_timeout
from app.infra.failpoints import Point, reach
from app.infra.lifecycle import sleep_or_stop
from app.infra.logging import get_logger
from app.keeper.settler import Settler
from app.repositories.leases import Lease
from app.repositories.unit_of_work import UnitOfWork
from app.services.broker_pool import BrokerPool
from app.services.fill_recorder import FillRecorder
from app.services.order_updates import OrderUpdates

FRAMES_MAX = 10_000
"""Frames that may wait; beyond, the stream is dropped and the books are read instead."""

CATCH_UP_EVERY_S = 5.0
"""Streams lose single messages without a sign, so the books are read from time to time in any case."""

BURST_S = 0.004
"""Frames come in bursts (open, then complete): resting this long after the first lets one look serve them all."""

READ_COST_FACTOR = 10
"""A trade book that took 10 ms to read is not read again for 100 ms: reading never takes most of the time."""

DOUBLINGS_MAX = 16
CATCH_UP_COST_FACTOR = 100
"""A book of many thousands of orders takes a broker and us a good while: it is read less often."""

LOOK_EVERY_S = 0.5
"""How often the database is asked whether an order waits for the books."""

NUDGE_DELAY_S = 0.6
"""A nudge stands for all that happens within half a second of it: the read waits until that is over."""

NUDGED_READS_EVERY_S = 1.0
"""However many nudges come, the order book is read no more often than brokers allow."""

RECONNECT_BASE_S = 0.1
RECONNECT_CAP_S = 5.0
SESSION_WAIT_S = 0.2

log = get_logger(__name__)


class AccountWatch:
    """Keeps one account's orders and fills current until told to stop."""

    def __init__(
        self,
        account: Account,
        *,
        uow: UnitOfWork,
        brokers: BrokerPool,
        updates: OrderUpdates,
        recorder: FillRecorder,
        settler: Settler,
        lease: Lease,
        clock: Clock,
        bell: EventBell,
        reads_per_second: float,
        unsettled_read_s: float,
    ) -> None:
        self._account = account
        self._uow = uow
        self._brokers = brokers
        self._updates = updates
        self._recorder = recorder
        self._settler = settler
        self._lease = lease
        self._clock = clock
        self._bell = bell
        self._read_interval_s = 1.0 / reads_per_second
        self._unsettled_read_s = unsettled_read_s
        self._frames: list[BrokerOrder] = []
        self._wake = asyncio.Event()
        self._stream_error: BrokerUnreadable | None = None
        self._counted: set[tuple[str, str]] = set()
        self._strange: set[tuple[str, str]] = set()
        self._strange_reads = 0
        self._failures = 0
        self._trades_due = True
        self._next_read_at = 0.0
        self._next_catch_up_at = 0.0
        self._may_catch_up_at = 0.0
        self._may_settle_at = 0.0
        self._next_look_at = 0.0

    def nudge(self) -> None:
        """Read the order book soon, once for all nudges of the next moments: somebody says that it has changed."""
        soon = max(self._clock.monotonic() + NUDGE_DELAY_S, self._may_catch_up_at)
        if soon < self._next_catch_up_at:
            self._next_catch_up_at = soon
            self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop`. Broker errors reconnect; `LeaseLost` and database errors end the watch."""
        while not stop.is_set():
            broker = await self._brokers.get(self._account.id)
            session = await broker.session()
            if session is None:
                await sleep_or_stop(stop, SESSION_WAIT_S)
                continue
            try:
                await self._watch(broker, session, stop)
            except SessionDead as error:
                log.warning("watch.session_dead", account=self._account.name, error=str(error))
                await broker.report_dead()
            except BrokerUnreadable as error:
                self._failures += 1
                if self._failures == 1:
                    log.warning("watch.lost", account=self._account.name, error=str(error))
                await sleep_or_stop(stop, backoff_s(self._failures, base_s=RECONNECT_BASE_S, cap_s=RECONNECT_CAP_S))

    async def _watch(self, broker: GuardedBroker, session: BrokerSession, stop: asyncio.Event) -> None:
        """Stay on one connection of the order stream. Whatever it missed before is read from the books first."""
        self._frames.clear()
        self._stream_error = None
        async with broker.broker.order_updates(session) as stream:
            reader = asyncio.create_task(self._read_stream(stream))
            try:
                self._trades_due = True
                self._next_catch_up_at = 0.0
                while not stop.is_set():
                    await self._turn(broker, session)
                    self._failures = 0
                    if self._stream_error is not None:
                        raise self._stream_error
                    if await wait_or_timeout(self._wake, self._idle_s()):
                        await sleep_or_stop(stop, BURST_S)
            finally:
                reader.cancel()
                await asyncio.wait([reader])

    async def _read_stream(self, stream: AsyncIterator[BrokerOrder]) -> None:
        try:
            async for frame in stream:
                self._frames.append(frame)
                self._wake.set()
                if len(self._frames) >= FRAMES_MAX:
                    break
            self._stream_error = BrokerUnreadable("the order stream ended, or brought more than can be worked off")
        except BrokerUnreadable as error:
            self._stream_error = error
        self._wake.set()

    async def _turn(self, broker: GuardedBroker, session: BrokerSession) -> None:
        await self._look()
        frames, self._frames = self._frames, []
        changed = 0
        if self._clock.monotonic() >= self._next_catch_up_at:
            changed = await self._catch_up(broker, session, frames)
        elif frames:
            applied = await self._updates.apply(self._account.id, frames, self._lease)
            changed = applied.changed
            self._trades_due = self._trades_due or applied.trades_missing
        if self._trades_due and self._clock.monotonic() >= self._next_read_at:
            changed += await self._import_trades(broker, session)
        if changed:
            await self._bell.ring(Channel.PROGRESS)

    async def _look(self) -> None:
        """Have the order book read soon where an order waits for it."""
        if self._clock.monotonic() < self._next_look_at:
            return
        self._next_look_at = self._clock.monotonic() + LOOK_EVERY_S
        if (await self._settler.unsettled()).any:
            self._next_catch_up_at = min(self._next_catch_up_at, self._may_settle_at)

    async def _catch_up(self, broker: GuardedBroker, session: BrokerSession, frames: list[BrokerOrder]) -> int:
        await broker.wait_for_budget(EndpointGroup.BOOKS)
        before = await self._settler.unsettled()
        started = self._clock.monotonic()
        book = await broker.broker.order_book(session)
        reach(Point.KEEPER_AFTER_READ)
        cost_s = self._clock.monotonic() - started
        self._next_catch_up_at = started + max(CATCH_UP_EVERY_S, cost_s * CATCH_UP_COST_FACTOR)
        self._may_catch_up_at = started + max(NUDGED_READS_EVERY_S, cost_s * READ_COST_FACTOR)
        self._may_settle_at = started + max(self._unsettled_read_s, cost_s * READ_COST_FACTOR)
        self._trades_due = True
        applied = await self._updates.apply(self._account.id, [*frames, *book], self._lease)
        return applied.changed + await self._settler.settle(broker, session, book, applied, before)

    async def _import_trades(self, broker: GuardedBroker, session: BrokerSession) -> int:
        started = self._clock.monotonic()
        await self._tell_trading_day()
        await broker.wait_for_budget(EndpointGroup.BOOKS)
        trades = await broker.broker.trade_book(session)
        reach(Point.KEEPER_AFTER_READ)
        cost_s = self._clock.monotonic() - started
        self._next_read_at = started + max(self._read_interval_s, cost_s * READ_COST_FACTOR)
        # What the broker's book of today no longer holds need not be remembered either.
        self._counted &= {_key(trade) for trade in trades}
        unseen = [trade for trade in trades if _key(trade) not in self._counted]
        self._trades_due = False
        if not unseen:
            return 0
        recorded = await self._recorder.record(self._account.id, unseen, self._lease)
        strange = {_key(trade) for trade in recorded.unmatched}
        self._counted |= {_key(trade) for trade in unseen} - strange
        self._look_again_for(strange, started)
        return len(recorded.new)

    def _look_again_for(self, strange: set[tuple[str, str]], started: float) -> None:
        """Read again soon, because a trade can be in the book before its order's answer is recorded.

        But ever later for the same ones: a trade whose order cannot be taken into our books never becomes one of ours.
        """
        self._strange_reads = self._strange_reads + 1 if strange and strange == self._strange else 0
        self._strange = strange
        if strange:
            self._trades_due = True
            wait_s = self._read_interval_s * float(1 << min(self._strange_reads, DOUBLINGS_MAX))
            self._next_read_at = max(self._next_read_at, started + min(wait_s, CATCH_UP_EVERY_S))

    async def _tell_trading_day(self) -> None:
        async with self._uow.statement() as tx:
            day = await tx.market.trading_day(self._account.market_source)
        if day is not None:
            self._brokers.set_trading_day(self._account.id, day)

    def _idle_s(self) -> float:
        now = self._clock.monotonic()
        until_due = max(0.0, min(self._next_catch_up_at, self._next_look_at) - now)
        if not self._trades_due:
            return until_due
        return min(until_due, max(0.001, self._next_read_at - now))


def _key(trade: BrokerTrade) -> tuple[str, str]:
    return (trade.broker_order_id, trade.trade_id)
