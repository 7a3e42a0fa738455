"""Positions: read under lock, written with the fills that change them."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import RowMapping, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.orders import Product
from app.core.positions import Position
from app.models import PositionRow


class PositionKey(NamedTuple):
    """Whose position in what."""

    account_id: UUID
    strategy_id: UUID | None
    instrument_id: UUID
    product: Product


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldPosition:
    """A position with its key and the time of its last change."""

    id: UUID
    key: PositionKey
    position: Position
    updated_at: datetime


class AccountTotals(NamedTuple):
    """Sums over an account's positions."""

    open_positions: int
    realized_pnl: Decimal
    fees: Decimal


_UPSERT = text("""
INSERT INTO positions (id, account_id, strategy_id, instrument_id, product, quantity, open_cost, realized_pnl, fees,
  buy_quantity, sell_quantity, last_fill_at, last_fill_order, last_fill_trade)
VALUES (:id, :account_id, :strategy_id, :instrument_id, :product, :quantity, :open_cost, :realized_pnl, :fees,
  :buy_quantity, :sell_quantity, :last_fill_at, :last_fill_order, :last_fill_trade)
ON CONFLICT (account_id, strategy_id, instrument_id, product) DO UPDATE SET
  quantity = excluded.quantity, open_cost = excluded.open_cost, realized_pnl = excluded.realized_pnl,
  fees = excluded.fees, buy_quantity = excluded.buy_quantity, sell_quantity = excluded.sell_quantity,
  last_fill_at = excluded.last_fill_at, last_fill_order = excluded.last_fill_order,
  last_fill_trade = excluded.last_fill_trade, updated_at = clock_timestamp()
""")


class PositionRepository:
    """SQL of the positions table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def lock(self, account_id: UUID) -> dict[PositionKey, Position]:
        """Lock and return all positions of an account.

        The account's fills have one writer (the keeper); the lock is for the readers that decide on a position.
        """
        query = (
            select(PositionRow.__table__)
            .where(PositionRow.account_id == account_id)
            .order_by(PositionRow.id)
            .with_for_update()
        )
        held = [_held(row) for row in (await self._connection.execute(query)).mappings()]
        return {one.key: one.position for one in held}

    async def save(self, positions: list[tuple[UUID, PositionKey, Position]]) -> None:
        """Insert or replace positions; the id counts for new ones only."""
        await self._connection.execute(_UPSERT, [_params(*entry) for entry in positions])

    async def page(
        self, *, account_id: UUID | None, strategy_id: UUID | None, open_only: bool, limit: int
    ) -> list[HeldPosition]:
        """Return positions, those changed last first."""
        query = select(PositionRow.__table__).order_by(PositionRow.updated_at.desc()).limit(limit)
        if account_id is not None:
            query = query.where(PositionRow.account_id == account_id)
        if strategy_id is not None:
            query = query.where(PositionRow.strategy_id == strategy_id)
        if open_only:
            query = query.where(PositionRow.quantity != 0)
        return [_held(row) for row in (await self._connection.execute(query)).mappings()]

    async def of_accounts(self, account_ids: list[UUID]) -> list[HeldPosition]:
        """Return all positions of some accounts, flat ones too: their P&L and fees count."""
        query = select(PositionRow.__table__).where(PositionRow.account_id.in_(account_ids)).order_by(PositionRow.id)
        return [_held(row) for row in (await self._connection.execute(query)).mappings()]

    async def of_strategies(self, strategy_ids: list[UUID]) -> dict[UUID, Position]:
        """Return each strategy's position in the one instrument that it trades."""
        query = select(PositionRow.__table__).where(PositionRow.strategy_id.in_(strategy_ids))
        held = [_held(row) for row in (await self._connection.execute(query)).mappings()]
        return {one.key.strategy_id: one.position for one in held if one.key.strategy_id is not None}

    async def totals(self, account_id: UUID) -> AccountTotals:
        """Return an account's number of open positions, realised P&L and fees in rupees."""
        query = select(
            func.count().filter(PositionRow.quantity != 0),
            func.coalesce(func.sum(PositionRow.realized_pnl), 0),
            func.coalesce(func.sum(PositionRow.fees), 0),
        ).where(PositionRow.account_id == account_id)
        row = (await self._connection.execute(query)).one()
        return AccountTotals(row[0], Decimal(row[1]), Decimal(row[2]))


def _params(new_id: UUID, key: PositionKey, position: Position) -> dict[str, object]:
    last = position.last_fill
    return {
        "id": new_id,
        "account_id": key.account_id,
        "strategy_id": key.strategy_id,
        "instrument_id": key.instrument_id,
        "product": key.product.value,
        "quantity": position.quantity,
        "open_cost": position.open_cost,
        "realized_pnl": position.realized_pnl,
        "fees": position.fees,
        "buy_quantity": position.buy_quantity,
        "sell_quantity": position.sell_quantity,
        "last_fill_at": last[0] if last else None,
        "last_fill_order": last[1] if last else None,
        "last_fill_trade": last[2] if last else None,
    }


def _held(row: RowMapping) -> HeldPosition:
    last = (row["last_fill_at"], row["last_fill_order"], row["last_fill_trade"])
    return HeldPosition(
        id=row["id"],
        key=PositionKey(row["account_id"], row["strategy_id"], row["instrument_id"], Product(row["product"])),
        position=Position(
            quantity=row["quantity"],
            open_cost=row["open_cost"],
            realized_pnl=row["realized_pnl"],
            fees=row["fees"],
            buy_quantity=row["buy_quantity"],
            sell_quantity=row["sell_quantity"],
            last_fill=last if last[0] is not None else None,
        ),
        updated_at=row["updated_at"],
    )
