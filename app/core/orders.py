"""Orders: what is wanted (`OrderIntent`), and what was saved of it (`Order`)."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID


class Side(StrEnum):
    """Direction of an order or fill."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> "Side":
        """The side that closes this one."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """Order types of the Indian cash and derivatives markets."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    SL = "SL"
    SL_M = "SL-M"

    @property
    def has_limit_price(self) -> bool:
        """Whether the order names a limit price."""
        return self in (OrderType.LIMIT, OrderType.SL)

    @property
    def has_trigger(self) -> bool:
        """Whether the order rests until the last price reaches a trigger."""
        return self in (OrderType.SL, OrderType.SL_M)


class Product(StrEnum):
    """Intraday (MIS), cash delivery (CNC) or carried derivatives (NRML)."""

    MIS = "MIS"
    CNC = "CNC"
    NRML = "NRML"


class Validity(StrEnum):
    """DAY rests until the close; IOC is cancelled for what does not trade at once."""

    DAY = "DAY"
    IOC = "IOC"


class Purpose(StrEnum):
    """Whether an order opens or adds to a position (ENTRY), or only reduces one (EXIT)."""

    ENTRY = "ENTRY"
    EXIT = "EXIT"


class OrderOrigin(StrEnum):
    """Where an order comes from.

    EXTERNAL: somebody else's, found in the broker's books. ORPHAN: it carries a tag of ours, but we have no order of
    that tag (a restored backup): the account takes no entries until a person has looked.
    """

    SAUDA = "SAUDA"
    EXTERNAL = "EXTERNAL"
    ORPHAN = "ORPHAN"


class Lane(StrEnum):
    """The Redis queue that carries an order's command."""

    PRIORITY = "priority"
    STANDARD = "standard"


class Urgency(StrEnum):
    """How much an order may be kept waiting; decides its lane and its rank in the lane."""

    NORMAL = "NORMAL"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"
    STOP_LOSS = "STOP_LOSS"

    @property
    def band(self) -> int:
        """Rank band, 0 (NORMAL) to 3 (STOP_LOSS); the higher band goes first."""
        return _BANDS[self]

    @property
    def lane(self) -> Lane:
        """NORMAL orders take the standard lane, all others the priority lane."""
        return Lane.STANDARD if self is Urgency.NORMAL else Lane.PRIORITY


_BANDS = {Urgency.NORMAL: 0, Urgency.HIGH: 1, Urgency.CRITICAL: 2, Urgency.STOP_LOSS: 3}


class OrderStatus(StrEnum):
    """Where an order stands; `core/transitions.py` holds how it gets from one to the next."""

    PENDING = "PENDING"
    SUBMITTING = "SUBMITTING"
    PLACED = "PLACED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    COMPLETE = "COMPLETE"
    UNKNOWN = "UNKNOWN"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


TERMINAL_STATUSES = frozenset({OrderStatus.COMPLETE, OrderStatus.REJECTED, OrderStatus.CANCELLED, OrderStatus.EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderIntent:
    """What a person or strategy wants. Prices in rupees, quantity in units, `deadline` in market time (UTC)."""

    account_id: UUID
    client_order_id: str
    instrument_id: UUID
    side: Side
    quantity: int
    order_type: OrderType
    product: Product
    validity: Validity = Validity.DAY
    urgency: Urgency = Urgency.NORMAL
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    deadline: datetime | None = None
    strategy_id: UUID | None = None
    purpose: Purpose = Purpose.ENTRY


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """When an order passed each stage, by the wall clock in UTC; None for a stage not reached."""

    received: datetime
    saved: datetime | None = None
    rung: datetime | None = None
    claimed: datetime | None = None
    sent: datetime | None = None
    acknowledged: datetime | None = None
    first_fill: datetime | None = None
    done: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A saved order: the intent, its identity at us and at the broker, and how far it has come."""

    id: UUID
    intent: OrderIntent
    tag: str
    status: OrderStatus
    status_reason: str | None
    broker_order_id: str | None
    filled_quantity: int
    average_price: Decimal | None
    trading_day: date
    market_time: datetime
    stages: Stages
    origin: OrderOrigin = OrderOrigin.SAUDA
    cancel_wanted_at: datetime | None = None

    @property
    def remaining_quantity(self) -> int:
        """Units that have not traded."""
        return self.intent.quantity - self.filled_quantity
