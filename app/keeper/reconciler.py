"""Compares every account's books with its broker's: each in a task of its own, so that none waits for another."""

import asyncio
from collections.abc import Callable
from uuid import UUID

from app.brokers.registry import UnknownBroker, broker_record
from app.core.accounts import Account
from app.core.reconciliations import ReconciliationCause
from app.infra.logging import get_logger
from app.keeper.account_reconciler import AccountReconciler
from app.repositories.leases import LeaseLost
from app.repositories.unit_of_work import UnitOfWork

log = get_logger(__name__)


class Reconciler:
    """One turn starts and ends the accounts' comparisons as accounts come and go, and hands on what is asked for."""

    def __init__(self, *, uow: UnitOfWork, account_reconciler: Callable[[Account], AccountReconciler]) -> None:
        self._uow = uow
        self._account_reconciler = account_reconciler
        self._reconcilers: dict[UUID, AccountReconciler] = {}
        self._tasks: dict[UUID, asyncio.Task[None]] = {}

    async def turn(self) -> None:
        """Bring the comparisons in line with accounts and requests. Raises `LeaseLost` when another keeper leads."""
        async with self._uow.statement() as tx:
            requests = await tx.reconciliations.requests()
            wanted = {account.id: account for account in await tx.accounts.to_watch() if _keeps_books(account)}
            asked = {request.account_id for request in requests} - wanted.keys()
            for account in await tx.accounts.all() if asked else []:
                if account.id in asked and _keeps_books(account):
                    wanted[account.id] = account
        for account_id in self._tasks.keys() - wanted.keys():
            await self._end(account_id)
        for account in wanted.values():
            self._ensure(account)
        for account_id, cause in requests:
            reconciler = self._reconcilers.get(account_id)
            if reconciler is not None:
                reconciler.request(cause)

    async def close(self) -> None:
        """End all comparisons."""
        for account_id in list(self._tasks):
            await self._end(account_id)

    def _ensure(self, account: Account) -> None:
        task = self._tasks.get(account.id)
        if task is not None:
            if not task.done():
                return
            error = task.exception()
            if isinstance(error, LeaseLost):
                raise error
            log.warning("reconciler.restarted", account=account.name, error=repr(error))
        reconciler = self._reconcilers.get(account.id)
        if reconciler is None:
            reconciler = self._reconcilers[account.id] = self._account_reconciler(account)
            reconciler.request(ReconciliationCause.START)
        self._tasks[account.id] = asyncio.create_task(reconciler.run())

    async def _end(self, account_id: UUID) -> None:
        self._reconcilers.pop(account_id, None)
        task = self._tasks.pop(account_id)
        task.cancel()
        await asyncio.wait([task])


def _keeps_books(account: Account) -> bool:
    try:
        return broker_record(account.broker).capabilities.books
    except UnknownBroker:
        return False
