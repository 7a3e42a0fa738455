"""What the command repository takes and gives: claims, findings, and bells to ring."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import RowMapping

from app.core.commands import CommandKind, CommandState
from app.core.instruments import Exchange
from app.core.orders import OrderStatus, OrderType, Product, Side, Urgency, Validity
from app.core.ports import Ring
from app.core.transitions import OrderEvent


class Claim(NamedTuple):
    """A command that this process alone may send, until `send_by` by the database's clock.

    The terms are those to be sent: the order's own, of which a MODIFY's changes are part already.
    """

    command_id: UUID
    order_id: UUID
    attempt: int
    exchange: Exchange
    trading_symbol: str | None
    token: str | None
    side: Side
    quantity: int
    order_type: OrderType
    product: Product
    validity: Validity
    price: Decimal | None
    trigger_price: Decimal | None
    tag: str
    kind: CommandKind = CommandKind.PLACE
    broker_order_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How a claimed command ended: what is recorded of it."""

    event: OrderEvent
    command_state: CommandState
    reason: str | None = None
    broker_order_id: str | None = None
    broker_unique_id: str | None = None
    sent_at: datetime | None = None
    acknowledged_at: datetime | None = None


class Recorded(NamedTuple):
    """What an order became by a recorded finding; `cancel_wanted`: a cancel was held until this was known."""

    status: OrderStatus
    cancel_wanted: bool = False


class Standing(NamedTuple):
    """Why a command could not be claimed: how it and its order stand.

    `spent`: it had all its attempts. `held_back`: it raises an entry of an account that takes none now.
    """

    order_id: UUID
    account_id: UUID
    kind: CommandKind
    state: CommandState
    spent: bool
    status: OrderStatus
    cancel_wanted: bool
    held_back: bool


def claim_of(command_id: UUID, row: RowMapping) -> Claim:
    """Return the claim that a row of a claiming statement describes."""
    return Claim(
        command_id=command_id,
        order_id=row["order_id"],
        attempt=row["attempt"],
        exchange=Exchange(row["exchange"]),
        trading_symbol=row["trading_symbol"],
        token=row["token"],
        side=Side(row["side"]),
        quantity=row["quantity"],
        order_type=OrderType(row["order_type"]),
        product=Product(row["product"]),
        validity=Validity(row["validity"]),
        price=row["price"],
        trigger_price=row["trigger_price"],
        tag=row["tag"],
        kind=CommandKind(row["kind"]),
        broker_order_id=row["broker_order_id"],
    )


def ring_of(row: RowMapping) -> Ring:
    """Return the bell to ring for a command's row."""
    return Ring(
        command_id=row["id"],
        account_id=row["account_id"],
        urgency=Urgency(row["urgency"]),
        exchange=Exchange(row["exchange"]),
        enqueued_at=row["created_at"],
    )
