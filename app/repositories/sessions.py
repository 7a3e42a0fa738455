"""Broker sessions: one an account, tokens encrypted by the caller.

All times are the database's. `next_login_at` is when somebody may try a login again: whoever claims the right to try
moves it on in the same statement, so that no two processes log one account in at once, whatever they believe.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import RowMapping, select, text
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
    next_login_at: datetime | None = None
    last_error: str | None = None


# A session that ends soon is renewed, unless it ends at midnight in India anyway: a renewed one would end then too.
# And not again and again where the broker only gives short ones.
_NEEDED = """(s.state IS NULL OR s.state <> 'LOGGED_IN' OR s.expires_at <= clock_timestamp()
  OR (s.expires_at < clock_timestamp() + interval '30 minutes'
    AND s.updated_at < clock_timestamp() - interval '5 minutes'
    AND s.expires_at < (date_trunc('day', clock_timestamp() AT TIME ZONE 'Asia/Kolkata') + interval '1 day')
      AT TIME ZONE 'Asia/Kolkata' - interval '1 minute'))"""
_ALLOWED = """(s.state IS DISTINCT FROM 'BROKEN'
  AND (s.next_login_at IS NULL OR s.next_login_at <= clock_timestamp()))"""

_WITHOUT = text(f"""
SELECT a.id, {_ALLOWED} AS allowed FROM broker_accounts a LEFT JOIN broker_sessions s ON s.account_id = a.id
WHERE a.id = ANY(:account_ids) AND {_NEEDED}
""")

# An account that never logged in counts as EXPIRED from its first try on: nobody has refused it.
_CLAIM = text(f"""
INSERT INTO broker_sessions AS s (account_id, state, version, failures, next_login_at)
VALUES (:account_id, 'EXPIRED', 0, 0, clock_timestamp() + make_interval(secs => CAST(:for_s AS double precision)))
ON CONFLICT (account_id) DO UPDATE SET next_login_at = excluded.next_login_at
WHERE {_NEEDED} AND {_ALLOWED}
RETURNING s.*
""")
# Brokers take a login a second: tokens that die at once must not make us hammer.
_LOGGED_IN = text("""
INSERT INTO broker_sessions AS s (account_id, state, version, tokens, expires_at, failures)
VALUES (:account_id, 'LOGGED_IN', 1, :tokens, :expires_at, 0)
ON CONFLICT (account_id) DO UPDATE SET state = 'LOGGED_IN', version = s.version + 1, tokens = excluded.tokens,
  expires_at = excluded.expires_at, failures = 0, last_error = NULL, updated_at = clock_timestamp(),
  next_login_at = clock_timestamp() + interval '1 second'
""")
_REFUSED = text("""
UPDATE broker_sessions SET state = :state, failures = failures + 1, last_error = :error,
  next_login_at = clock_timestamp() + make_interval(secs => CAST(:wait_s AS double precision)),
  updated_at = clock_timestamp()
WHERE account_id = :account_id
""")
_UNREACHABLE = text("""
UPDATE broker_sessions SET last_error = :error,
  next_login_at = clock_timestamp() + make_interval(secs => CAST(:wait_s AS double precision))
WHERE account_id = :account_id
RETURNING CAST(extract(epoch FROM clock_timestamp()
  - CASE WHEN state = 'LOGGED_IN' THEN expires_at ELSE updated_at END) AS double precision) AS without_s
""")
_EXPIRED = text("""
UPDATE broker_sessions SET state = 'EXPIRED', updated_at = clock_timestamp()
WHERE account_id = :account_id AND version = :version AND state = 'LOGGED_IN'
""")
_AGAIN = text("""
UPDATE broker_sessions SET failures = 0, next_login_at = NULL,
  state = CASE state WHEN 'BROKEN' THEN 'LOGGED_OUT' ELSE state END
WHERE account_id = :account_id RETURNING state
""")


class SessionRepository:
    """SQL of the broker_sessions table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, account_id: UUID) -> StoredSession | None:
        """Return the account's session row, if anybody ever tried to log it in."""
        query = select(BrokerSessionRow.__table__).where(BrokerSessionRow.account_id == account_id)
        row = (await self._connection.execute(query)).mappings().first()
        return _stored(row) if row else None

    async def needing_login(self, account_ids: list[UUID]) -> dict[UUID, bool]:
        """Return those of these accounts that need a login or a renewed session, and whether it may be tried now."""
        rows = await self._connection.execute(_WITHOUT, {"account_ids": account_ids})
        return {row.id: row.allowed for row in rows}

    async def claim_login(self, account_id: UUID, *, for_s: float) -> StoredSession | None:
        """Take the right to log the account in for `for_s` seconds; None where it is not needed, or not allowed now."""
        params = {"account_id": account_id, "for_s": for_s}
        row = (await self._connection.execute(_CLAIM, params)).mappings().first()
        return _stored(row) if row else None

    async def save_login(self, account_id: UUID, *, tokens: bytes, expires_at: datetime) -> None:
        """Store the tokens of a new login."""
        await self._connection.execute(
            _LOGGED_IN, {"account_id": account_id, "tokens": tokens, "expires_at": expires_at}
        )

    async def save_refusal(self, account_id: UUID, *, state: SessionState, error: str, wait_s: float) -> None:
        """Store that the broker refused a login, how the account stands then, and how long nobody tries again."""
        params = {"account_id": account_id, "state": state.value, "error": error, "wait_s": wait_s}
        await self._connection.execute(_REFUSED, params)

    async def save_unreachable(self, account_id: UUID, *, error: str, wait_s: float) -> float:
        """Store that no login could be tried; returns for how many seconds the account has had no session."""
        params = {"account_id": account_id, "error": error, "wait_s": wait_s}
        without_s: float | None = (await self._connection.execute(_UNREACHABLE, params)).scalar()
        return without_s or 0

    async def mark_expired(self, account_id: UUID, *, version: int) -> None:
        """Store that the broker called this login over; a report about an older login changes nothing."""
        await self._connection.execute(_EXPIRED, {"account_id": account_id, "version": version})

    async def allow_again(self, account_id: UUID) -> SessionState:
        """Forget earlier failures, so that a login is tried at once where it is needed; returns the state then."""
        state = (await self._connection.execute(_AGAIN, {"account_id": account_id})).scalar()
        return SessionState(state) if state else SessionState.LOGGED_OUT


def _stored(row: RowMapping) -> StoredSession:
    return StoredSession(
        account_id=row["account_id"],
        state=SessionState(row["state"]),
        version=row["version"],
        tokens=row["tokens"],
        expires_at=row["expires_at"],
        failures=row["failures"],
        next_login_at=row["next_login_at"],
        last_error=row["last_error"],
    )
