"""Balances: what each account's ledger began with, what the broker said last, and how each trading day ended."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.accounts import AccountMode
from app.core.balances import Opening


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLedger:
    """An account with its opening and the time of its market. No opening: a live account not read yet.

    `broker_cash` in rupees, with the database's time of the read.
    """

    account_id: UUID
    name: str
    mode: AccountMode
    market_source: str
    market_time: datetime | None
    opening: Opening | None
    opened_at: datetime | None
    broker_cash: Decimal | None
    broker_cash_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceSnapshot:
    """How an account stood at the end of a trading day. Rupees."""

    account_id: UUID
    trading_day: date
    cash: Decimal
    realized_pnl: Decimal
    unrealized_pnl: Decimal | None
    fees: Decimal
    broker_cash: Decimal | None


_OPEN = text("""
INSERT INTO balances (account_id, opening_cash, flow_before) VALUES (:account_id, :cash, :flow_before)
ON CONFLICT (account_id) DO NOTHING
""")
_BROKER_CASH = text("""
UPDATE balances SET broker_cash = :cash, broker_cash_at = clock_timestamp() WHERE account_id = :account_id
""")
_LEDGERS = text("""
SELECT a.id, a.name, a.mode, a.market_source, m.market_time, b.opening_cash, b.flow_before, b.opened_at,
  b.broker_cash, b.broker_cash_at
FROM broker_accounts a LEFT JOIN balances b ON b.account_id = a.id
LEFT JOIN market_clock m ON m.source = a.market_source
WHERE (CAST(:account_id AS uuid) IS NULL OR a.id = :account_id) AND (CAST(:after AS text) IS NULL OR a.name > :after)
ORDER BY a.name LIMIT :limit
""")
_SNAPSHOT = text("""
INSERT INTO balance_snapshots (account_id, trading_day, cash, realized_pnl, unrealized_pnl, fees, broker_cash)
VALUES (:account_id, :trading_day, :cash, :realized_pnl, :unrealized_pnl, :fees, :broker_cash)
ON CONFLICT (account_id, trading_day) DO NOTHING
""")


class BalanceRepository:
    """SQL of the balances and balance_snapshots tables."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def open(self, account_id: UUID, opening: Opening) -> bool:
        """Begin an account's ledger; false where it has begun already, which changes nothing."""
        params = {"account_id": account_id, "cash": opening.cash, "flow_before": opening.flow_before}
        return (await self._connection.execute(_OPEN, params)).rowcount == 1

    async def set_broker_cash(self, account_id: UUID, cash: Decimal) -> None:
        """Store what the broker says the account has."""
        await self._connection.execute(_BROKER_CASH, {"account_id": account_id, "cash": cash})

    async def ledgers(
        self, *, account_id: UUID | None = None, after: str | None = None, limit: int
    ) -> list[AccountLedger]:
        """Return accounts with their openings by name, those behind the name `after` where one is given."""
        params = {"account_id": account_id, "after": after, "limit": limit}
        return [_ledger(row) for row in (await self._connection.execute(_LEDGERS, params)).mappings()]

    async def add_snapshot(self, snapshot: BalanceSnapshot) -> bool:
        """Store how a day ended; false where that is stored already, which changes nothing."""
        params = {name: getattr(snapshot, name) for name in snapshot.__slots__}
        return (await self._connection.execute(_SNAPSHOT, params)).rowcount == 1


def _ledger(row: RowMapping) -> AccountLedger:
    opened = row["opening_cash"] is not None
    return AccountLedger(
        account_id=row["id"],
        name=row["name"],
        mode=AccountMode(row["mode"]),
        market_source=row["market_source"],
        market_time=row["market_time"],
        opening=Opening(cash=row["opening_cash"], flow_before=row["flow_before"]) if opened else None,
        opened_at=row["opened_at"],
        broker_cash=row["broker_cash"],
        broker_cash_at=row["broker_cash_at"],
    )
