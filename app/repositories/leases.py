"""Leases: one active process a role, by database time, fenced by an epoch."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Proof of leadership: valid while the row in the database says the same."""

    role: str
    holder: str
    epoch: int


class LeaseLost(Exception):
    """Another process leads now; nothing of this transaction was written."""


# The leader's transactions hold the row's key. Setting the key, even to what it is, waits for them; a renewal sets
# none and does not, or a busy leader would keep its own renewals out until its lease has run out.
_ACQUIRE = text("""
INSERT INTO leases AS l (role, holder, epoch, expires_at)
VALUES (:role, :holder, 1, clock_timestamp() + make_interval(secs => CAST(:ttl_s AS double precision)))
ON CONFLICT (role) DO UPDATE SET
  role = excluded.role,
  epoch = CASE WHEN l.holder = excluded.holder THEN l.epoch ELSE l.epoch + 1 END,
  holder = excluded.holder,
  expires_at = excluded.expires_at
WHERE l.holder = excluded.holder OR l.expires_at < clock_timestamp()
RETURNING epoch
""")
_RENEW = text("""
UPDATE leases SET expires_at = clock_timestamp() + make_interval(secs => CAST(:ttl_s AS double precision))
WHERE role = :role AND holder = :holder AND epoch = :epoch AND expires_at > clock_timestamp()
""")
_HELD = text("""
SELECT 1 FROM leases
WHERE role = :role AND holder = :holder AND epoch = :epoch AND expires_at > clock_timestamp()
FOR KEY SHARE
""")
_RELEASE = text("""
UPDATE leases SET expires_at = clock_timestamp() WHERE role = :role AND holder = :holder AND epoch = :epoch
""")


class LeaseRepository:
    """SQL of the leases table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def acquire(self, *, role: str, holder: str, ttl_s: float) -> Lease | None:
        """Take the lease where it is free or has run out; None where another process holds it."""
        row = (await self._connection.execute(_ACQUIRE, {"role": role, "holder": holder, "ttl_s": ttl_s})).first()
        return Lease(role=role, holder=holder, epoch=row.epoch) if row else None

    async def renew(self, lease: Lease, *, ttl_s: float) -> bool:
        """Prolong the lease; false where it is lost."""
        result = await self._connection.execute(_RENEW, {**_params(lease), "ttl_s": ttl_s})
        return result.rowcount == 1

    async def assert_held(self, lease: Lease) -> None:
        """Raise `LeaseLost` unless the lease holds; a take-over then waits until this transaction ends."""
        if (await self._connection.execute(_HELD, _params(lease))).first() is None:
            raise LeaseLost(f"{lease.role}: epoch {lease.epoch} is over")

    async def release(self, lease: Lease) -> None:
        """Let a standby take over at once."""
        await self._connection.execute(_RELEASE, _params(lease))


def _params(lease: Lease) -> dict[str, str | int]:
    return {"role": lease.role, "holder": lease.holder, "epoch": lease.epoch}
