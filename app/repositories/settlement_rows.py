"""What the settlement repository takes and gives."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import RowMapping

from app.core.attribution import Claimant
from app.core.commands import OrderTerms
from app.core.instruments import Exchange
from app.core.orders import OrderOrigin, OrderStatus, OrderType, Product, Side


class Unsettled(NamedTuple):
    """What of an account waits for the broker's books, at `now` by the database's clock.

    `claims`: an order was sent or may have been, and for a while nobody has heard of it.
    """

    now: datetime
    placements: bool
    modifies: bool
    claims: bool

    @property
    def any(self) -> bool:
        """Whether the books are wanted sooner than from time to time."""
        return self.placements or self.modifies or self.claims


class UnknownOrder(NamedTuple):
    """An order of which nobody knows whether its broker has it. `overdue`: for longer than settling takes."""

    order_id: UUID
    account_id: UUID
    overdue: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A placement that is under way or UNKNOWN. `same_day`: the broker's books of its day are still today's."""

    claimant: Claimant
    instrument_id: UUID
    attempt: int
    send_by: datetime | None
    same_day: bool
    cancel_wanted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownModify:
    """A change of which nobody knows whether the broker made it."""

    command_id: UUID
    broker_order_id: str
    wanted: OrderTerms
    present: OrderTerms
    send_by: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """An order of the broker's book that is none of ours, ready to be stored as one."""

    id: UUID
    origin: OrderOrigin
    status: OrderStatus
    done: bool
    reason: str | None
    instrument_id: UUID
    side: Side
    quantity: int
    order_type: OrderType
    product: Product
    validity: str
    price: Decimal | None
    trigger_price: Decimal | None
    broker_order_id: str
    broker_unique_id: str | None
    tag: str | None


def placement_of(row: RowMapping) -> Placement:
    """Return the placement that a row describes."""
    return Placement(
        claimant=Claimant(
            order_id=row["order_id"],
            exchange=Exchange(row["exchange"]),
            trading_symbol=row["trading_symbol"],
            token=row["token"],
            side=Side(row["side"]),
            quantity=row["quantity"],
            order_type=OrderType(row["order_type"]),
            product=Product(row["product"]),
            price=row["price"],
            trigger_price=row["trigger_price"],
            claimed_at=row["claimed_at"],
            market_time=row["market_time"],
            is_unknown=row["status"] == OrderStatus.UNKNOWN,
        ),
        instrument_id=row["instrument_id"],
        attempt=row["attempt"],
        send_by=row["send_by"],
        same_day=row["same_day"],
        cancel_wanted=row["cancel_wanted"],
    )


def modify_of(row: RowMapping) -> UnknownModify:
    """Return the change that a row describes."""
    return UnknownModify(
        command_id=row["id"],
        broker_order_id=row["broker_order_id"],
        wanted=OrderTerms(
            quantity=row["quantity"],
            order_type=OrderType(row["order_type"]),
            price=row["price"],
            trigger_price=row["trigger_price"],
        ),
        present=OrderTerms(
            quantity=row["present_quantity"],
            order_type=OrderType(row["present_type"]),
            price=row["present_price"],
            trigger_price=row["present_trigger"],
        ),
        send_by=row["send_by"],
    )
