"""What keeps accounts from taking new entries."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.accounts import BlockReason


class AccountBlock(NamedTuple):
    """One reason why an account takes no entries, and since when."""

    account_id: UUID
    reason: BlockReason
    detail: str
    since: datetime


_SET = text("""
INSERT INTO account_blocks (account_id, reason, detail) VALUES (:account_id, :reason, :detail)
ON CONFLICT (account_id, reason) DO UPDATE SET detail = excluded.detail
""")
_LIFT = text("DELETE FROM account_blocks WHERE account_id = :account_id AND reason = :reason")
_ALL = text("SELECT account_id, reason, detail, since FROM account_blocks ORDER BY account_id, reason")


class AccountBlockRepository:
    """SQL of the account_blocks table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def set(self, account_id: UUID, reason: BlockReason, detail: str) -> None:
        """Block an account's entries; where it is blocked for this reason already, its detail is brought up to date."""
        params = {"account_id": account_id, "reason": reason.value, "detail": detail}
        await self._connection.execute(_SET, params)

    async def lift(self, account_id: UUID, reason: BlockReason) -> bool:
        """End a block; false where there was none."""
        params = {"account_id": account_id, "reason": reason.value}
        return (await self._connection.execute(_LIFT, params)).rowcount > 0

    async def all(self) -> list[AccountBlock]:
        """Return every block."""
        rows = await self._connection.execute(_ALL)
        return [AccountBlock(row.account_id, BlockReason(row.reason), row.detail, row.since) for row in rows]
