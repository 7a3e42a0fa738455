"""How accounts stand, for people: status, login and blocks together, without a secret."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.accounts import Account, SessionState
from app.repositories.account_blocks import AccountBlock, AccountBlockRepository
from app.repositories.accounts import account_of


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """An account with its login and blocks. `session` is what it is now: one past its hour is EXPIRED."""

    account: Account
    session: SessionState
    expires_at: datetime | None
    failures: int
    last_error: str | None
    next_login_at: datetime | None
    blocks: list[AccountBlock]


_PAGE = text("""
SELECT a.*, coalesce(s.failures, 0) AS failures, s.last_error, s.next_login_at, s.expires_at,
  CASE WHEN s.state IS NULL OR (s.state = 'EXPIRED' AND s.version = 0) THEN 'LOGGED_OUT'
    WHEN s.state = 'LOGGED_IN' AND s.expires_at <= clock_timestamp() THEN 'EXPIRED' ELSE s.state END AS session
FROM broker_accounts a LEFT JOIN broker_sessions s ON s.account_id = a.id
WHERE CAST(:after AS text) IS NULL OR a.name > :after
ORDER BY a.name LIMIT :limit
""")


class AccountStateRepository:
    """SQL that reads accounts, sessions and blocks together."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def page(self, *, after: str | None, limit: int) -> list[AccountState]:
        """Return accounts by name; `after` is the name of the last one of the page before."""
        rows = list((await self._connection.execute(_PAGE, {"after": after, "limit": limit})).mappings())
        blocks: dict[UUID, list[AccountBlock]] = {}
        for block in await AccountBlockRepository(self._connection).all():
            blocks.setdefault(block.account_id, []).append(block)
        return [
            AccountState(
                account=account_of(row),
                session=SessionState(row["session"]),
                expires_at=row["expires_at"],
                failures=row["failures"],
                last_error=row["last_error"],
                next_login_at=row["next_login_at"],
                blocks=blocks.get(row["id"], []),
            )
            for row in rows
        ]
