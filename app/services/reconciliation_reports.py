"""Reports of comparisons with the brokers: reading them, and asking for a new one."""

from collections.abc import Sequence
from uuid import UUID

from app.brokers.registry import UnknownBroker, broker_record
from app.core.accounts import Account
from app.core.errors import OrderRefused
from app.core.reconciliations import ReconciliationCause
from app.repositories.reconciliations import Reconciliation
from app.repositories.unit_of_work import UnitOfWork


class ReconciliationReports:
    """The keeper compares; a request reaches it through the database, so that none is lost while it is away."""

    def __init__(self, *, uow: UnitOfWork) -> None:
        self._uow = uow

    async def page(self, *, account_id: UUID | None, before: UUID | None, limit: int) -> Sequence[Reconciliation]:
        """Return reports, newest first."""
        async with self._uow.statement() as tx:
            return await tx.reconciliations.page(account_id=account_id, before=before, limit=limit)

    async def request(self, account: Account, *, actor: str) -> None:
        """Ask for a comparison now. Raises `OrderRefused` where the account's broker keeps no books."""
        try:
            keeps_books = broker_record(account.broker).capabilities.books
        except UnknownBroker:
            keeps_books = False
        if not keeps_books:
            raise OrderRefused(
                code="no_books", message=f"{account.broker} keeps no books that {account.name} could be compared with"
            )
        async with self._uow.transaction() as tx:
            await tx.reconciliations.request(account.id, ReconciliationCause.REQUEST)
            await tx.audit.add(actor=actor, action="reconciliation.request", subject=account.name)
