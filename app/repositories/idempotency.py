"""The first answer to each idempotency key."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """What a caller was told the first time. `response` is the outcome as JSON, from which the same answer is made."""

    caller: str
    key: str
    body_hash: bytes
    response: str


_FIND = text("""
SELECT body_hash, response FROM idempotency_keys WHERE caller = :caller AND key = :key
""")
_ADD = text("""
INSERT INTO idempotency_keys (caller, key, body_hash, response)
VALUES (:caller, :key, :body_hash, :response)
ON CONFLICT (caller, key) DO NOTHING
""")


class IdempotencyRepository:
    """SQL of the idempotency_keys table; an accepted order's row is written by `OrderRepository.save`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, *, caller: str, key: str) -> StoredAnswer | None:
        """Return the stored answer, if the key was used before."""
        row = (await self._connection.execute(_FIND, {"caller": caller, "key": key})).first()
        if row is None:
            return None
        return StoredAnswer(caller=caller, key=key, body_hash=row.body_hash, response=row.response)

    async def add(self, answer: StoredAnswer) -> bool:
        """Store a first answer; false where another request with this key was first."""
        params = {
            "caller": answer.caller,
            "key": answer.key,
            "body_hash": answer.body_hash,
            "response": answer.response,
        }
        return (await self._connection.execute(_ADD, params)).rowcount == 1
