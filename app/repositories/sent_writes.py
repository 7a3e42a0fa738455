"""What an account has sent to its broker lately, for a rate budget that has lost its memory."""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

ROWS_MAX = 5000
"""Above what a broker with hourly limits takes in an hour."""


class SentWrite(NamedTuple):
    """One write that was claimed for sending, under a name of its own, and its age in seconds of database time."""

    name: str
    age_s: float


# Of a command that was tried several times only the last claim has its time here; the others were not sent, or
# were turned away unread by the broker's own limits.
_WITHIN = text(f"""
SELECT id::text || ':' || attempt, GREATEST(EXTRACT(EPOCH FROM clock_timestamp() - claimed_at), 0)::float8
FROM order_commands
WHERE account_id = :account_id AND claimed_at > clock_timestamp() - make_interval(secs => :within_s)
ORDER BY claimed_at DESC LIMIT {ROWS_MAX}
""")


class SentWriteRepository:
    """SQL of the claims in order_commands."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def within(self, account_id: UUID, within_s: float) -> list[SentWrite]:
        """Return the account's writes of the last so many seconds, newest first."""
        rows = await self._connection.execute(_WITHIN, {"account_id": account_id, "within_s": within_s})
        return [SentWrite(*row) for row in rows]
