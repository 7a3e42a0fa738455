"""The doors to the outside world, as the trading rules see them. Implementations live in the layers above."""

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from app.core.instruments import Exchange
from app.core.orders import Lane, OrderType, Product, Side, Urgency, Validity
from app.core.outcomes import PlaceOutcome


class Clock(Protocol):
    """The wall clock. Trading rules never read it: they are given times."""

    def now(self) -> datetime:
        """Return the present time in UTC."""

    def monotonic(self) -> float:
        """Return seconds that never step back, for deadlines inside one process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """A bell to ring for one command: ids and rank, never contents. The exchange names the budget that it spends."""

    command_id: UUID
    account_id: UUID
    urgency: Urgency
    exchange: Exchange
    enqueued_at: datetime

    @property
    def lane(self) -> Lane:
        """The queue that the bell hangs in."""
        return self.urgency.lane


class Doorbell(Protocol):
    """Tells workers that a command waits in the database. It may fail: a sweep rings again."""

    async def ring(self, rings: list[Ring]) -> bool:
        """Ring for the commands; False when Redis was slow or away. Never raises, never blocks long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSession:
    """Tokens of one login. `expires_at` in UTC. The repr hides the tokens."""

    client_code: str
    access_token: str
    refresh_token: str
    feed_token: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"BrokerSession(client_code={self.client_code!r}, expires_at={self.expires_at.isoformat()})"


class TokenStore(Protocol):
    """Where the one session of each account is kept, for all processes."""

    async def get(self, account_id: UUID) -> "StoredTokens | None":
        """Return the account's live session, or None while it is not logged in."""

    async def mark_dead(self, account_id: UUID, version: int) -> None:
        """Tell that the broker called this login over; older versions are ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTokens:
    """A session with the number of its login."""

    session: BrokerSession
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceRequest:
    """All that a broker needs to place one order."""

    exchange: Exchange
    trading_symbol: str
    token: str
    side: Side
    quantity: int
    order_type: OrderType
    product: Product
    validity: Validity
    price: Decimal | None
    trigger_price: Decimal | None
    tag: str


class BrokerOrderState(StrEnum):
    """A broker's status words, taken to what they mean for us."""

    WORKING = "WORKING"
    COMPLETE = "COMPLETE"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    UNRECOGNISED = "UNRECOGNISED"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerOrder:
    """One row of a broker's order book or one frame of its order stream.

    What is optional is None where the row does not say it, or says something that we have no word for.
    `updated_at` is the broker's time of its last change, in UTC.
    """

    broker_order_id: str
    broker_unique_id: str | None
    tag: str | None
    exchange: Exchange
    trading_symbol: str
    side: Side
    quantity: int
    filled_quantity: int
    average_price: Decimal
    state: BrokerOrderState
    raw_status: str
    text: str
    token: str | None = None
    order_type: OrderType | None = None
    product: Product | None = None
    validity: Validity | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StrangeRow:
    """A row of an order book that names its order, but says what we have no word for."""

    broker_order_id: str
    problem: str


class OrderBook(list[BrokerOrder]):
    """A complete read of a broker's orders. With a strange row in it nothing is proven to be absent."""

    def __init__(self, rows: Iterable[BrokerOrder] = (), *, strange: Iterable[StrangeRow] = ()) -> None:
        super().__init__(rows)
        self.strange = tuple(strange)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerTrade:
    """One row of a broker's trade book. `traded_at` in UTC; `trade_date` is the exchange's day."""

    broker_order_id: str
    trade_id: str
    exchange: Exchange
    trading_symbol: str
    side: Side
    quantity: int
    price: Decimal
    traded_at: datetime
    trade_date: date


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerPosition:
    """One row of a broker's positions. `net_quantity` is signed, in units."""

    exchange: Exchange
    trading_symbol: str
    token: str
    product: Product
    net_quantity: int
    average_price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Funds:
    """Cash at the broker, in rupees."""

    available: Decimal
    net: Decimal


class Broker(Protocol):
    """One broker account. Writes end in an outcome; reads return the truth or raise `BrokerUnreadable`."""

    async def login(self) -> BrokerSession:
        """Log in; raises `LoginRefused`, `BrokerUnreadable` or `PaperGuardError`."""

    async def place(self, session: BrokerSession, request: PlaceRequest, *, deadline: float) -> PlaceOutcome:
        """Place one order, with one request and no retry; past `deadline` (monotonic) nothing is written."""

    async def modify(
        self, session: BrokerSession, broker_order_id: str, request: PlaceRequest, *, deadline: float
    ) -> PlaceOutcome:
        """Change a resting order to the given request, whose quantity is the new total; one request, no retry."""

    async def cancel(
        self, session: BrokerSession, broker_order_id: str, order_type: OrderType, *, deadline: float
    ) -> PlaceOutcome:
        """Cancel a resting order; one request, no retry. Repeating it is harmless."""

    async def refresh(self, session: BrokerSession) -> BrokerSession:
        """Exchange a session for a new one; the old one's tokens are void afterwards. Raises `SessionDead`."""

    async def order_details(self, session: BrokerSession, broker_unique_id: str) -> BrokerOrder:
        """Return one order by the broker's unique id (not its order id)."""

    async def order_book(self, session: BrokerSession) -> OrderBook:
        """Return the day's orders."""

    async def trade_book(self, session: BrokerSession) -> list[BrokerTrade]:
        """Return the day's trades."""

    async def positions(self, session: BrokerSession) -> list[BrokerPosition]:
        """Return the day's positions."""

    async def funds(self, session: BrokerSession) -> Funds:
        """Return the account's cash."""

    def order_updates(self, session: BrokerSession) -> AbstractAsyncContextManager[AsyncIterator[BrokerOrder]]:
        """Open the order stream; iterating ends or raises `BrokerUnreadable` when the connection is lost."""

    async def close(self) -> None:
        """Close all connections."""
