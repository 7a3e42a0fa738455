"""An order as the paper exchange keeps it, its trades, and the events of its life."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from app.core.instruments import Exchange
from app.core.matching import WorkingOrder
from app.core.orders import OrderType, Product, Side, Validity


class OrderState(StrEnum):
    """Where an order stands, by the wire's own words."""

    OPEN_PENDING = "open pending"
    OPEN = "open"
    TRIGGER_PENDING = "trigger pending"
    COMPLETE = "complete"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


TERMINAL_STATES = frozenset({OrderState.COMPLETE, OrderState.CANCELLED, OrderState.REJECTED})


class Happening(StrEnum):
    """What the ledger records about an order, and what the order socket tells of it."""

    ACCEPTED = "accepted"
    OPENED = "opened"
    TRIGGERED = "triggered"
    TRADED = "traded"
    MODIFIED = "modified"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


@dataclass(slots=True, kw_only=True)
class PaperOrder:
    """One order that the market took. Prices in rupees, quantities in units.

    `rank` is its priority among resting orders; None while it is held for the next step. `run` is the replay that
    it rests in. `received_at` is wall time, `market_time` and `updated_at` exchange time, all in UTC.
    `acknowledged` is false when a fault swallowed the receipt. `revision` counts changes in this process.
    """

    order_id: str
    unique_id: str
    number: int
    client_code: str
    tag: str
    exchange: Exchange
    token: str
    symbol: str
    lot_size: int
    variety: str
    order_type: OrderType
    product: Product
    validity: Validity
    side: Side
    quantity: int
    disclosed: int
    price: Decimal
    trigger_price: Decimal
    day: date
    received_at: datetime
    market_time: datetime
    updated_at: datetime
    acknowledged: bool
    state: OrderState = OrderState.OPEN_PENDING
    triggered: bool = False
    modified: bool = False
    filled: int = 0
    traded_value: Decimal = Decimal(0)
    text: str = ""
    run: str = ""
    rank: int | None = None
    revision: int = 0

    @property
    def key(self) -> str:
        """The instrument's key, such as `NSE:11915`."""
        return f"{self.exchange}:{self.token}"

    @property
    def is_working(self) -> bool:
        """Whether the order can still trade."""
        return self.state not in TERMINAL_STATES

    @property
    def resting_state(self) -> OrderState:
        """The state in which an order of this kind waits for a price."""
        waits = self.order_type.has_trigger and not self.triggered
        return OrderState.TRIGGER_PENDING if waits else OrderState.OPEN

    def for_matching(self) -> WorkingOrder:
        """Return what the matching rules need to know."""
        return WorkingOrder(
            order_id=self.order_id,
            side=self.side,
            order_type=self.order_type,
            validity=self.validity,
            remaining=self.quantity - self.filled,
            price=self.price if self.order_type.has_limit_price else None,
            trigger_price=self.trigger_price if self.order_type.has_trigger else None,
            triggered=self.triggered,
            lot_size=self.lot_size,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTrade:
    """One trade. `fees` in rupees, `traded_at` in exchange time (UTC)."""

    trade_id: int
    order_id: str
    client_code: str
    exchange: Exchange
    token: str
    symbol: str
    product: Product
    side: Side
    quantity: int
    price: Decimal
    fees: Decimal
    traded_at: datetime
    day: date

    @property
    def key(self) -> str:
        """The instrument's key, such as `NSE:11915`."""
        return f"{self.exchange}:{self.token}"

    @property
    def value(self) -> Decimal:
        """Traded value in rupees."""
        return self.price * self.quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderHappening:
    """One event of an order, with the figures of that moment, so that later changes cannot rewrite it."""

    order: PaperOrder
    happening: Happening
    state: OrderState
    filled: int
    traded_value: Decimal
    text: str
    at: datetime
