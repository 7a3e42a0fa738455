"""Accounts by the names that people use, kept in memory and read again when a name is not known."""

import time
from uuid import UUID

from app.core.accounts import Account
from app.repositories.unit_of_work import UnitOfWork

REREAD_AFTER_S = 1.0


class AccountDirectory:
    """Looks accounts up by name and id. What can change (their status) is read again inside the order's transaction."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._by_name: dict[str, Account] = {}
        self._by_id: dict[UUID, Account] = {}
        self._read_at = float("-inf")

    async def by_name(self, name: str) -> Account | None:
        """Return the account of that name."""
        if name not in self._by_name:
            await self._reload()
        return self._by_name.get(name)

    async def by_id(self, account_id: UUID) -> Account | None:
        """Return an account by its id."""
        if account_id not in self._by_id:
            await self._reload()
        return self._by_id.get(account_id)

    async def of_client(self, broker: str, client_code: str) -> list[Account]:
        """Return the accounts of a broker's client: one, or one of each mode."""
        found = self._of_client(broker, client_code)
        if not found:
            await self._reload()
            found = self._of_client(broker, client_code)
        return found

    def _of_client(self, broker: str, client_code: str) -> list[Account]:
        return [one for one in self._by_id.values() if (one.broker, one.client_code) == (broker, client_code)]

    async def _reload(self) -> None:
        if time.monotonic() - self._read_at <= REREAD_AFTER_S:
            return
        async with self._uow.transaction() as tx:
            accounts = await tx.accounts.all()
        self._by_name = {account.name: account for account in accounts}
        self._by_id = {account.id: account for account in accounts}
        self._read_at = time.monotonic()
