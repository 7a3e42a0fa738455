"""Keeps each account that trades, or has orders out, logged in and watched: one login at a time, one watch each."""

import asyncio
from uuid import UUID

from app.brokers.registry import broker_record
from app.core.accounts import Account, AccountMode
from app.core.ports import Clock
from app.infra.events import EventBell
from app.infra.logging import get_logger
from app.keeper.account_watch import CATCH_UP_EVERY_S, AccountWatch
from app.repositories.leases import Lease, LeaseLost
from app.repositories.unit_of_work import UnitOfWork
from app.services.broker_pool import BrokerPool
from app.services.broker_sessions import BrokerSessions
from app.services.fill_recorder import FillRecorder
from app.services.order_updates import OrderUpdates
from app.services.paper_accounts import PaperAccounts

LIVE_READS_PER_SECOND = 1.0
PAPER_READS_PER_SECOND = 50.0
"""The paper exchange has no limit on its books; a live broker allows one read a second."""

LINGER_S = 3 * CATCH_UP_EVERY_S
"""How long an account without open orders is still watched: its last order's end can be known before its last trade."""

log = get_logger(__name__)


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
        lease: Lease,
        clock: Clock,
        bell: EventBell,
    ) -> None:
        self._uow = uow
        self._brokers = brokers
        self._sessions = sessions
        self._paper_accounts = paper_accounts
        self._updates = updates
        self._recorder = recorder
        self._lease = lease
        self._clock = clock
        self._bell = bell
        self._watches: dict[UUID, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._end_at: dict[UUID, float] = {}
        self._troubled: set[UUID] = set()

    async def turn(self) -> None:
        """Bring logins and watches in line with the accounts. Raises `LeaseLost` when another keeper leads."""
        async with self._uow.transaction() as tx:
            wanted = {account.id: account for account in await tx.accounts.to_watch()}
        for account in wanted.values():
            await self._try_log_in(account)
        await self._end_unwanted(set(wanted))
        for account in wanted.values():
            if account.id not in self._troubled:
                self._ensure_watch(account)

    async def close(self) -> None:
        """End all watches."""
        await asyncio.gather(*(self._end(account_id) for account_id in list(self._watches)))

    async def _try_log_in(self, account: Account) -> None:
        try:
            await self._log_in(account)
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001  isolation point: the others want to log in too
            if account.id not in self._troubled:
                log.warning("watches.login_failing", account=account.name, error=repr(error))
            self._troubled.add(account.id)
        else:
            self._troubled.discard(account.id)

    async def _log_in(self, account: Account) -> None:
        # Raises for an account that the paper guard forbids or whose broker nobody knows: it fails closed.
        broker = await self._brokers.get(account.id)
        if await broker.session() is not None or await self._sessions.is_broken(account.id):
            return
        if account.mode is AccountMode.PAPER:
            await self._paper_accounts.open_at_exchange(account.id)
        await self._sessions.log_in_where_needed(account.id, broker.broker, self._lease)

    def _ensure_watch(self, account: Account) -> None:
        running = self._watches.get(account.id)
        if running is not None:
            if not running[0].done():
                return
            error = running[0].exception()
            if isinstance(error, LeaseLost):
                raise error
            log.warning("watches.restarted", account=account.name, error=repr(error))
        if not broker_record(account.broker).capabilities.order_stream:
            return
        stop = asyncio.Event()
        watch = AccountWatch(
            account,
            uow=self._uow,
            brokers=self._brokers,
            updates=self._updates,
            recorder=self._recorder,
            lease=self._lease,
            clock=self._clock,
            bell=self._bell,
            reads_per_second=PAPER_READS_PER_SECOND if account.mode is AccountMode.PAPER else LIVE_READS_PER_SECOND,
        )
        self._watches[account.id] = (asyncio.create_task(watch.run(stop)), stop)

    async def _end_unwanted(self, wanted: set[UUID]) -> None:
        now = self._clock.monotonic()
        for account_id in list(self._watches):
            if account_id in wanted:
                self._end_at.pop(account_id, None)
            elif now >= self._end_at.setdefault(account_id, now + LINGER_S):
                await self._end(account_id)

    async def _end(self, account_id: UUID) -> None:
        self._end_at.pop(account_id, None)
        task, stop = self._watches.pop(account_id)
        stop.set()
        task.cancel()
        await asyncio.wait([task])
