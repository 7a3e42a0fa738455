"""Broker sessions: one an account, tokens encrypted by the caller."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.accounts import SessionState
from app.models import BrokerSessionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """A session as it is stored. `tokens` is cipher text."""

    account_id: UUID
    state: SessionState
    version: int
    tokens: bytes | None
    expires_at: datetime | None
    failures: int


_LOGGED_IN = text("""
INSERT INTO broker_sessions AS s (account_id, state, version, tokens, expires_at, failures)
VALUES (:account_id, 'LOGGED_IN', 1, :tokens, :expires_at, 0)
ON CONFLICT (account_id) DO UPDATE SET state = 'LOGGED_IN', version = s.version + 1, tokens = excluded.tokens,
  expires_at = excluded.expires_at, failures = 0, last_error = NULL, updated_at = clock_timestamp()
""")
_FAILED = text("""
INSERT INTO broker_sessions AS s (account_id, state, version, failures, last_error)
VALUES (:account_id, CAST(:state AS text), 1, 1, :error)
ON CONFLICT (account_id) DO UPDATE SET state = excluded.state, failures = s.failures + 1,
  last_error = excluded.last_error, updated_at = clock_timestamp()
""")
_EXPIRED = text("""
UPDATE broker_sessions SET state = 'EXPIRED', updated_at = clock_timestamp()
WHERE account_id = :account_id AND version = :version AND state = 'LOGGED_IN'
""")


class SessionRepository:
    """SQL of the broker_sessions table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, account_id: UUID) -> StoredSession | None:
        """Return the account's session row, if it ever logged in."""
        query = select(BrokerSessionRow.__table__).where(BrokerSessionRow.account_id == account_id)
        row = (await self._connection.execute(query)).mappings().first()
        if row is None:
            return None
        return StoredSession(
            account_id=row["account_id"],
            state=SessionState(row["state"]),
            version=row["version"],
            tokens=row["tokens"],
            expires_at=row["expires_at"],
            failures=row["failures"],
        )

    async def save_login(self, account_id: UUID, *, tokens: bytes, expires_at: datetime) -> None:
        """Store the tokens of a new login."""
        await self._connection.execute(
            _LOGGED_IN, {"account_id": account_id, "tokens": tokens, "expires_at": expires_at}
        )

    async def save_failure(self, account_id: UUID, *, state: SessionState, error: str) -> None:
        """Store that a login failed, and how the account stands then."""
        await self._connection.execute(_FAILED, {"account_id": account_id, "state": state.value, "error": error})

    async def mark_expired(self, account_id: UUID, *, version: int) -> None:
        """Store that the broker called this login over; a report about an older login changes nothing."""
        await self._connection.execute(_EXPIRED, {"account_id": account_id, "version": version})
