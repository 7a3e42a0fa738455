"""Broker accounts."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import RowMapping, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.accounts import Account, AccountMode, AccountStatus
from app.models import BrokerAccountRow


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAccount:
    """An account with its encrypted credentials. `base_url` None means the mode's ordinary address."""

    account: Account
    credentials: bytes
    base_url: str | None


class AccountNow(NamedTuple):
    """How an account and its market stand at this moment.

    `logged_out`: for longer than a login takes, or refused by the broker. `blocks`: why no entries are taken, as text.
    `stale`: the market's time is the last that was told, which is a while ago.
    """

    status: AccountStatus
    market_time: datetime | None
    trading_day: date | None
    logged_out: bool
    blocks: str | None
    stale: bool


LOGIN_GRACE_S = 30
"""How long an account without a live session still takes entries: a login after midnight or a dead token is quicker."""

LOGGED_OUT = f"""CASE
  WHEN s.state IN ('BROKEN', 'LOGGED_OUT') THEN true
  WHEN s.state = 'LOGGED_IN' THEN s.expires_at < clock_timestamp() - interval '{LOGIN_GRACE_S} seconds'
  ELSE coalesce(s.updated_at, a.created_at) < clock_timestamp() - interval '{LOGIN_GRACE_S} seconds' END"""
"""SQL over accounts `a` and their sessions `s`: whether an account's entries are refused because it is logged out."""

# Read for every order, so it is spelt out: building the query anew costs as much as asking it.
# A clock that nobody has moved for so long belongs to a dead feed. At a real market days go on without it.
_IS_STALE = "m.updated_at <= clock_timestamp() - interval '10 minutes'"
_NOW = text(f"""
SELECT a.status, m.market_time,
  CASE WHEN {_IS_STALE} AND a.mode = 'LIVE'
    THEN greatest(m.trading_day, (clock_timestamp() AT TIME ZONE 'Asia/Kolkata')::date) ELSE m.trading_day END,
  {LOGGED_OUT} AS logged_out,
  (SELECT string_agg(b.reason, ', ' ORDER BY b.reason) FROM account_blocks b WHERE b.account_id = a.id) AS blocks,
  coalesce({_IS_STALE}, false) AS stale
FROM broker_accounts a LEFT JOIN market_clock m ON m.source = a.market_source
LEFT JOIN broker_sessions s ON s.account_id = a.id
WHERE a.id = :account_id
""")
# Pausing an account stops no order that is at its broker already.
_TO_WATCH = text("""
SELECT * FROM broker_accounts a
WHERE a.status = 'ACTIVE' OR EXISTS (
  SELECT 1 FROM orders o
  WHERE o.account_id = a.id AND o.status IN ('SUBMITTING', 'PLACED', 'PARTIALLY_FILLED', 'UNKNOWN')
)
ORDER BY a.name
""")


class AccountRepository:
    """SQL of the broker_accounts table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, stored: StoredAccount) -> None:
        """Insert an account; its name must be new."""
        account = stored.account
        await self._connection.execute(
            insert(BrokerAccountRow).values(
                id=account.id,
                name=account.name,
                broker=account.broker,
                mode=account.mode,
                status=account.status,
                client_code=account.client_code,
                credentials=stored.credentials,
                base_url=stored.base_url,
                market_source=account.market_source,
                orders_per_second=account.orders_per_second,
                orders_per_minute=account.orders_per_minute,
                orders_per_hour=account.orders_per_hour,
            )
        )

    async def pause(self, account_id: UUID) -> None:
        """Let an account take no more orders."""
        await self._connection.execute(
            update(BrokerAccountRow).where(BrokerAccountRow.id == account_id).values(status=AccountStatus.PAUSED)
        )

    async def all(self) -> list[Account]:
        """Return every account, by name."""
        rows = await self._connection.execute(select(BrokerAccountRow.__table__).order_by(BrokerAccountRow.name))
        return [account_of(row) for row in rows.mappings()]

    async def to_watch(self) -> list[Account]:
        """Return the accounts that are active, or have orders that are, or may be, open at the broker; by name."""
        return [account_of(row) for row in (await self._connection.execute(_TO_WATCH)).mappings()]

    async def by_name(self, name: str) -> Account | None:
        """Return the account of that name."""
        query = select(BrokerAccountRow.__table__).where(BrokerAccountRow.name == name)
        row = (await self._connection.execute(query)).mappings().first()
        return account_of(row) if row else None

    async def stored(self, account_id: UUID) -> StoredAccount | None:
        """Return an account with its encrypted credentials."""
        query = select(BrokerAccountRow.__table__).where(BrokerAccountRow.id == account_id)
        row = (await self._connection.execute(query)).mappings().first()
        if row is None:
            return None
        return StoredAccount(account=account_of(row), credentials=row["credentials"], base_url=row["base_url"])

    async def now(self, account_id: UUID) -> AccountNow | None:
        """Return how the account stands for a new order, and the time of its market."""
        row = (await self._connection.execute(_NOW, {"account_id": account_id})).first()
        return AccountNow(AccountStatus(row[0]), row[1], row[2], row[3], row[4], row[5]) if row else None


def account_of(row: RowMapping) -> Account:
    """Return the account that a row of the broker_accounts table holds."""
    return Account(
        id=row["id"],
        name=row["name"],
        broker=row["broker"],
        mode=AccountMode(row["mode"]),
        status=AccountStatus(row["status"]),
        client_code=row["client_code"],
        market_source=row["market_source"],
        orders_per_second=row["orders_per_second"],
        orders_per_minute=row["orders_per_minute"],
        orders_per_hour=row["orders_per_hour"],
    )
