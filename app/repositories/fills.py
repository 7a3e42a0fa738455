"""Fills: recorded once, by the broker's own numbers."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import RowMapping, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.fills import Fill, FillKey
from app.core.instruments import Exchange
from app.core.orders import OrderStatus, Product, Side
from app.core.transitions import OrderEvent
from app.models import FillRow


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFill:
    """A fill with the order that it belongs to."""

    id: UUID
    fill: Fill
    order_id: UUID
    strategy_id: UUID | None
    instrument_id: UUID
    product: Product


class RecordedFill(NamedTuple):
    """A fill as people see it."""

    id: UUID
    order_id: UUID
    account_id: UUID
    instrument_id: UUID
    strategy_id: UUID | None
    product: Product
    side: Side
    quantity: int
    price: Decimal
    fees: Decimal
    trade_id: str
    broker_order_id: str
    traded_at: datetime
    recorded_at: datetime


class FilledOrder(NamedTuple):
    """What a batch of fills made of an order."""

    order_id: UUID
    event: OrderEvent
    status: OrderStatus
    filled_quantity: int
    average_price: Decimal
    done: bool
    detail: str


_INSERT = text("""
INSERT INTO fills (id, account_id, exchange, trade_date, broker_order_id, trade_id, order_id, strategy_id,
  instrument_id, product, side, quantity, price, fees, traded_at)
VALUES (:id, :account_id, :exchange, :trade_date, :broker_order_id, :trade_id, :order_id, :strategy_id,
  :instrument_id, :product, :side, :quantity, :price, :fees, :traded_at)
""")
# The order rows are locked by this transaction, and the statuses come from the transition table.
_FILL_ORDER = text("""
WITH o AS (
  UPDATE orders SET status = :status, filled_quantity = :filled_quantity, average_price = :average_price,
    first_fill_at = coalesce(first_fill_at, clock_timestamp()),
    done_at = CASE WHEN :done THEN coalesce(done_at, clock_timestamp()) ELSE done_at END
  WHERE id = :order_id RETURNING id
)
INSERT INTO order_events (order_id, event, status, actor, detail)
SELECT id, :event, :event_status, 'keeper', CAST(:detail AS jsonb) FROM o
""")


class FillRepository:
    """SQL of the fills table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def known_keys(self, account_id: UUID, order_ids: list[UUID]) -> set[tuple[str, str, str]]:
        """Return (exchange, broker order id, trade id) of the fills that these orders have already, of any day."""
        query = select(FillRow.exchange, FillRow.broker_order_id, FillRow.trade_id).where(
            FillRow.account_id == account_id, FillRow.order_id.in_(order_ids)
        )
        return {(row[0], row[1], row[2]) for row in await self._connection.execute(query)}

    async def turnovers(self, order_ids: list[UUID]) -> dict[UUID, tuple[int, Decimal]]:
        """Return quantity and turnover in rupees that each order has traded."""
        query = (
            select(FillRow.order_id, func.sum(FillRow.quantity), func.sum(FillRow.quantity * FillRow.price))
            .where(FillRow.order_id.in_(order_ids))
            .group_by(FillRow.order_id)
        )
        return {row[0]: (int(row[1]), Decimal(row[2])) for row in await self._connection.execute(query)}

    async def add(self, fills: list[NewFill]) -> None:
        """Insert fills that are not known yet; the unique key refuses a second copy."""
        await self._connection.execute(
            _INSERT,
            [
                {
                    "id": new.id,
                    "account_id": new.fill.key.account_id,
                    "exchange": new.fill.key.exchange.value,
                    "trade_date": new.fill.key.trade_date,
                    "broker_order_id": new.fill.key.broker_order_id,
                    "trade_id": new.fill.key.trade_id,
                    "order_id": new.order_id,
                    "strategy_id": new.strategy_id,
                    "instrument_id": new.instrument_id,
                    "product": new.product.value,
                    "side": new.fill.side.value,
                    "quantity": new.fill.quantity,
                    "price": new.fill.price,
                    "fees": new.fill.fees,
                    "traded_at": new.fill.traded_at,
                }
                for new in fills
            ],
        )

    async def fill_orders(self, orders: list[FilledOrder]) -> None:
        """Move locked orders on by their fills, and write one event each."""
        await self._connection.execute(
            _FILL_ORDER,
            [
                {
                    "order_id": order.order_id,
                    "event": order.event.value,
                    "status": order.status.value,
                    "event_status": order.status.value,
                    "filled_quantity": order.filled_quantity,
                    "average_price": order.average_price,
                    "done": order.done,
                    "detail": order.detail,
                }
                for order in orders
            ],
        )

    async def of_position(
        self, account_id: UUID, *, strategy_id: UUID | None, instrument_id: UUID, product: Product
    ) -> list[Fill]:
        """Return all fills of one position, to fold it anew."""
        query = select(FillRow.__table__).where(
            FillRow.account_id == account_id,
            FillRow.strategy_id.is_not_distinct_from(strategy_id),
            FillRow.instrument_id == instrument_id,
            FillRow.product == product,
        )
        return [_fill(row) for row in (await self._connection.execute(query)).mappings()]

    async def page(
        self,
        *,
        account_id: UUID | None,
        order_id: UUID | None,
        instrument_id: UUID | None,
        before: UUID | None,
        limit: int,
    ) -> list[RecordedFill]:
        """Return fills, newest first."""
        query = select(FillRow.__table__).order_by(FillRow.id.desc()).limit(limit)
        for column, value in (
            (FillRow.account_id, account_id),
            (FillRow.order_id, order_id),
            (FillRow.instrument_id, instrument_id),
        ):
            if value is not None:
                query = query.where(column == value)
        if before is not None:
            query = query.where(FillRow.id < before)
        return [_recorded(row) for row in (await self._connection.execute(query)).mappings()]

    async def count(self, account_id: UUID) -> int:
        """Return how many fills an account has."""
        query = select(func.count()).select_from(FillRow).where(FillRow.account_id == account_id)
        return (await self._connection.execute(query)).scalar_one()


def _fill(row: RowMapping) -> Fill:
    return Fill(
        key=FillKey(
            account_id=row["account_id"],
            exchange=Exchange(row["exchange"]),
            trade_date=row["trade_date"],
            broker_order_id=row["broker_order_id"],
            trade_id=row["trade_id"],
        ),
        side=Side(row["side"]),
        quantity=row["quantity"],
        price=row["price"],
        traded_at=row["traded_at"],
        fees=row["fees"],
    )


def _recorded(row: RowMapping) -> RecordedFill:
    values = {name: row[name] for name in RecordedFill._fields}
    return RecordedFill(**{**values, "product": Product(row["product"]), "side": Side(row["side"])})
