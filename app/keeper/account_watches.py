"""Keeps each account that trades, or has orders out, logged in and watched: one login at a time, one watch each."""

import asyncio
from typing import NamedTuple
from uuid import UUID

from app.brokers.registry import broker_record
from app.core.accounts import Account, AccountMode
from app.core.ports import Broker, Clock
from app.infra.events import EventBell
from app.infra.logging import get_logger
from app.keeper.account_watch import CATCH_UP_EVERY_S, AccountWatch
from app.keeper.hints import Hints
from app.keeper.settler import Settler, horizon_s
from app.repositories.leases import Lease, LeaseLost
from app.repositories.unit_of_work import UnitOfWork
from app.services.broker_pool import BrokerPool
from app.services.broker_sessions import BrokerSessions
from app.services.fill_recorder import FillRecorder
from app.services.order_updates import OrderUpdates
from app.services.paper_accounts import PaperAccounts
from app.services.settlement import Settlement

LIVE_READS_PER_SECOND = 1.0
PAPER_READS_PER_SECOND = 50.0
"""The paper exchange has no limit on its books; a live broker allows one read a second."""

LIVE_UNSETTLED_READ_S = 1.0
PAPER_UNSETTLED_READ_S = 0.5
"""How soon the order book is read again while an order waits for it."""

LINGER_S = 3 * CATCH_UP_EVERY_S
"""How long an account without open orders is still watched: its last order's end can be known before its last trade."""

LOGINS_AT_ONCE = 8

log = get_logger(__name__)


class _Running(NamedTuple):
    """A watch, the task that it runs in, and what stops it."""

    watch: AccountWatch
    task: asyncio.Task[None]
    stop: asyncio.Event


class AccountWatches:
    """One turn logs accounts in where needed, and starts and ends watches as accounts come and go."""

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        brokers: BrokerPool,
        sessions: BrokerSessions,
        paper_accounts: PaperAccounts,
        updates: OrderUpdates,
        recorder: FillRecorder,
        settlement: Settlement,
        lease: Lease,
        clock: Clock,
        bell: EventBell,
        hints: Hints,
    ) -> None:
        self._hints = hints
        self._uow = uow
        self._brokers = brokers
        self._sessions = sessions
        self._paper_accounts = paper_accounts
        self._updates = updates
        self._recorder = recorder
        self._settlement = settlement
        self._lease = lease
        self._clock = clock
        self._bell = bell
        self._watches: dict[UUID, _Running] = {}
        self._logins: dict[UUID, asyncio.Task[None]] = {}
        self._login_slots = asyncio.Semaphore(LOGINS_AT_ONCE)
        self._end_at: dict[UUID, float] = {}

    async def turn(self) -> None:
        """Bring logins and watches in line with the accounts. Raises `LeaseLost` when another keeper leads.

        Logins run beside the turns, so that a slow broker keeps nobody else out.
        """
        async with self._uow.transaction() as tx:
            wanted = {account.id: account for account in await tx.accounts.to_watch()}
            without = await tx.sessions.needing_login(list(wanted))
        self._look_after_logins([account for account in wanted.values() if without.get(account.id)])
        await self._end_unwanted(set(wanted))
        for account in wanted.values():
            # Never logged in, or not even to be built: there is nothing to watch yet.
            if account.id in self._watches or account.id not in without:
                self._ensure_watch(account)
        for account_id in self._hints.take() & self._watches.keys():
            self._watches[account_id].watch.nudge()

    async def close(self) -> None:
        """End all watches and logins."""
        logins = list(self._logins.values())
        for login in logins:
            login.cancel()
        if logins:
            await asyncio.wait(logins)
        await asyncio.gather(*(self._end(account_id) for account_id in list(self._watches)))

    def _look_after_logins(self, due: list[Account]) -> None:
        for account_id, login in list(self._logins.items()):
            if not login.done():
                continue
            del self._logins[account_id]
            error = login.exception()  # noqa: LOG004  a task's, not a logger's
            if isinstance(error, LeaseLost):
                raise error
            if error is not None:
                log.warning("watches.login_failing", account_id=str(account_id), error=repr(error))
        for account in due:
            if account.id not in self._logins:
                self._logins[account.id] = asyncio.create_task(self._log_in(account))

    async def _log_in(self, account: Account) -> None:
        async def connect() -> Broker:
            # Raises for an account that the paper guard forbids or whose broker nobody knows: it fails closed.
            broker = await self._brokers.get(account.id)
            if account.mode is AccountMode.PAPER:
                await self._paper_accounts.open_at_exchange(account.id)
            return broker.broker

        async with self._login_slots:
            await self._sessions.log_in_where_needed(account.id, connect, self._lease)

    def _ensure_watch(self, account: Account) -> None:
        running = self._watches.get(account.id)
        if running is not None:
            if not running.task.done():
                return
            error = running.task.exception()
            if isinstance(error, LeaseLost):
                raise error
            log.warning("watches.restarted", account=account.name, error=repr(error))
        if not broker_record(account.broker).capabilities.order_stream:
            return
        stop = asyncio.Event()
        is_paper = account.mode is AccountMode.PAPER
        settler = Settler(
            account,
            settlement=self._settlement,
            updates=self._updates,
            lease=self._lease,
            clock=self._clock,
            horizon_s=horizon_s(broker_record(account.broker).timeouts),
        )
        watch = AccountWatch(
            account,
            uow=self._uow,
            brokers=self._brokers,
            updates=self._updates,
            recorder=self._recorder,
            settler=settler,
            lease=self._lease,
            clock=self._clock,
            bell=self._bell,
            reads_per_second=PAPER_READS_PER_SECOND if is_paper else LIVE_READS_PER_SECOND,
            unsettled_read_s=PAPER_UNSETTLED_READ_S if is_paper else LIVE_UNSETTLED_READ_S,
        )
        self._watches[account.id] = _Running(watch, asyncio.create_task(watch.run(stop)), stop)

    async def _end_unwanted(self, wanted: set[UUID]) -> None:
        now = self._clock.monotonic()
        for account_id in list(self._watches):
            if account_id in wanted:
                self._end_at.pop(account_id, None)
            elif now >= self._end_at.setdefault(account_id, now + LINGER_S):
                await self._end(account_id)

    async def _end(self, account_id: UUID) -> None:
        self._end_at.pop(account_id, None)
        running = self._watches.pop(account_id)
        running.stop.set()
        running.task.cancel()
        await asyncio.wait([running.task])
