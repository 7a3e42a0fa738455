"""Exits: what is left to reduce of a position, and which of them wait too long."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.orders import OrderIntent
from app.repositories.accounts import LOGGED_OUT


class WaitingExit(NamedTuple):
    """An exit that nobody has sent yet, with what keeps its account from trading."""

    order_id: UUID
    account_id: UUID
    account: str
    side: str
    quantity: int
    since: datetime
    paused: bool
    logged_out: bool


_OPEN = "o.purpose = 'EXIT' AND o.status IN ('PENDING', 'SUBMITTING', 'PLACED', 'PARTIALLY_FILLED', 'UNKNOWN')"
"""The condition of the index of open exits."""

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:position, 0))")

# What is held on the other side, less what open exits will take of it.
_REDUCIBLE = text(f"""
SELECT greatest(0,
  coalesce((
    SELECT -p.quantity * CAST(:sign AS bigint) FROM positions p
    WHERE p.account_id = :account_id AND p.instrument_id = :instrument_id AND p.product = :product
      AND p.strategy_id IS NOT DISTINCT FROM CAST(:strategy_id AS uuid)
  ), 0) - coalesce((
    SELECT sum(greatest(0, o.quantity - o.filled_quantity)) FROM orders o
    WHERE o.account_id = :account_id AND o.instrument_id = :instrument_id AND o.product = :product
      AND o.strategy_id IS NOT DISTINCT FROM CAST(:strategy_id AS uuid) AND o.side = :side AND {_OPEN}
  ), 0))
""")

_WAITING = text(f"""
SELECT o.id, o.account_id, a.name, o.side, o.quantity, o.saved_at, a.status = 'PAUSED' AS paused,
  {LOGGED_OUT} AS logged_out
FROM orders o JOIN broker_accounts a ON a.id = o.account_id LEFT JOIN broker_sessions s ON s.account_id = a.id
WHERE {_OPEN} AND o.status = 'PENDING'
  AND o.saved_at < clock_timestamp() - make_interval(secs => CAST(:after_s AS double precision))
  AND NOT EXISTS (
    SELECT 1 FROM alerts l WHERE l.kind = 'EXIT_WAITING' AND l.subject = CAST(o.id AS text) AND l.closed_at IS NULL
  )
ORDER BY o.saved_at LIMIT :batch
""")

_CLOSE_SENT = text("""
UPDATE alerts l SET closed_at = clock_timestamp()
WHERE l.kind = 'EXIT_WAITING' AND l.closed_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = l.order_id AND o.status = 'PENDING')
""")


class ExitRepository:
    """SQL about orders whose purpose is to reduce a position."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def lock(self, intent: OrderIntent) -> None:
        """Let no other exit from the same position be saved before this transaction ends."""
        position = (intent.account_id, intent.strategy_id, intent.instrument_id, intent.product.value)
        await self._connection.execute(_LOCK, {"position": ":".join(str(part) for part in position)})

    async def reducible(self, intent: OrderIntent) -> int:
        """Return how many units an exit on the intent's side may still take from the position that it names."""
        params = {
            "account_id": intent.account_id,
            "strategy_id": intent.strategy_id,
            "instrument_id": intent.instrument_id,
            "product": intent.product.value,
            "side": intent.side.value,
            "sign": intent.side.sign,
        }
        return int((await self._connection.execute(_REDUCIBLE, params)).scalar_one())

    async def waiting(self, *, after_s: float, batch: int) -> list[WaitingExit]:
        """Return exits unsent for longer than `after_s` seconds of which no open alert tells, oldest first."""
        rows = await self._connection.execute(_WAITING, {"after_s": after_s, "batch": batch})
        return [WaitingExit(*row) for row in rows]

    async def close_alerts_of_sent(self) -> int:
        """Close the alerts of exits that wait no longer; returns how many."""
        return (await self._connection.execute(_CLOSE_SENT)).rowcount
