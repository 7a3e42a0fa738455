"""What the order repository takes and gives: orders to save, filters, changes, and rows read back."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import RowMapping

from app.core.orders import (
    Order,
    OrderIntent,
    OrderOrigin,
    OrderStatus,
    OrderType,
    Product,
    Purpose,
    Side,
    Stages,
    Urgency,
    Validity,
)
from app.core.transitions import OrderEvent
from app.repositories.idempotency import StoredAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """All that is known of an order when it is saved, with the answer that its caller will get."""

    id: UUID
    command_id: UUID
    intent: OrderIntent
    tag: str
    trading_day: date
    market_time: datetime
    received_at: datetime
    answer: StoredAnswer


class OrderFilter(NamedTuple):
    """Which orders to list; None means any. `before` is the id of the last order of the page before."""

    account_id: UUID | None = None
    status: OrderStatus | None = None
    instrument_id: UUID | None = None
    strategy_id: UUID | None = None
    side: Side | None = None
    trading_day: date | None = None
    before: UUID | None = None


class TimelineEvent(NamedTuple):
    """One recorded event of an order."""

    at: datetime
    event: str
    status: OrderStatus
    actor: str
    detail: dict[str, str]


class LockedOrder(NamedTuple):
    """What a fill or a broker's update needs to know of an order that this transaction has locked."""

    id: UUID
    account_id: UUID
    strategy_id: UUID | None
    instrument_id: UUID
    product: Product
    side: Side
    quantity: int
    filled_quantity: int
    status: OrderStatus
    broker_order_id: str | None
    tag: str
    order_type: OrderType
    price: Decimal | None
    trigger_price: Decimal | None


class OrderChange(NamedTuple):
    """One step that a broker's row makes an order take; the status comes from the transition table."""

    order_id: UUID
    event: OrderEvent
    status: OrderStatus
    reason: str | None
    broker_order_id: str
    broker_unique_id: str | None
    done: bool


def order_of(row: RowMapping) -> Order:
    """Return the order that a row of the orders table holds."""
    return Order(
        id=row["id"],
        intent=OrderIntent(
            account_id=row["account_id"],
            client_order_id=row["client_order_id"],
            instrument_id=row["instrument_id"],
            side=Side(row["side"]),
            quantity=row["quantity"],
            order_type=OrderType(row["order_type"]),
            product=Product(row["product"]),
            validity=Validity(row["validity"]),
            urgency=Urgency(row["urgency"]),
            price=row["price"],
            trigger_price=row["trigger_price"],
            deadline=row["deadline"],
            strategy_id=row["strategy_id"],
            purpose=Purpose(row["purpose"]),
        ),
        tag=row["tag"],
        status=OrderStatus(row["status"]),
        status_reason=row["status_reason"],
        broker_order_id=row["broker_order_id"],
        filled_quantity=row["filled_quantity"],
        average_price=row["average_price"],
        trading_day=row["trading_day"],
        market_time=row["market_time"],
        stages=Stages(
            received=row["received_at"],
            saved=row["saved_at"],
            rung=row["rung_at"],
            claimed=row["claimed_at"],
            sent=row["sent_at"],
            acknowledged=row["acknowledged_at"],
            first_fill=row["first_fill_at"],
            done=row["done_at"],
        ),
        origin=OrderOrigin(row["origin"]),
        cancel_wanted_at=row["cancel_wanted_at"],
    )


def locked_order_of(row: RowMapping) -> LockedOrder:
    """Return the locked order that a row of the same columns holds."""
    return LockedOrder(
        **{
            **row,
            "product": Product(row["product"]),
            "side": Side(row["side"]),
            "status": OrderStatus(row["status"]),
            "order_type": OrderType(row["order_type"]),
        }
    )
