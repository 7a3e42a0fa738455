"""What every broker has: a record of facts, credentials, and the calls that an adapter answers."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field

from app.core.accounts import AccountMode
from app.core.instruments import Exchange
from app.core.ports import Broker, BrokerSession, Clock

Seconds = Annotated[float, Field(gt=0, le=60)]
HostName = Annotated[str, Field(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)+$")]


class _Facts(BaseModel):
    """Facts from a file: an unknown or missing key, or a wrong type, is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Timeouts(_Facts):
    """How long each stage of a request may take, in seconds.

    `total_s` bounds the whole request, `keepalive_s` how long an idle connection is used again,
    `unacknowledged_s` how long the kernel goes on delivering bytes that the network does not acknowledge.
    """

    connect_s: Seconds
    write_s: Seconds
    read_s: Seconds
    pool_s: Seconds
    total_s: Seconds
    keepalive_s: Seconds
    unacknowledged_s: Seconds


class RateLimit(_Facts):
    """A broker's own ceiling for a group of endpoints, per client code; None where it states none."""

    per_second: int = Field(gt=0)
    per_minute: int | None = Field(default=None, gt=0)
    per_hour: int | None = Field(default=None, gt=0)


class EndpointGroup(StrEnum):
    """Endpoints that share one ceiling."""

    LOGIN = "login"
    REFRESH = "refresh"
    PROFILE = "profile"
    FUNDS = "funds"
    ORDERS = "orders"
    BOOKS = "books"
    QUOTES = "quotes"
    CANDLES = "candles"


class Capabilities(_Facts):
    """What a broker can do, so that callers and the conformance suite need not know its name."""

    books: bool
    order_stream: bool
    market_data: bool
    modify_and_cancel: bool
    tag_length_max: int = Field(gt=0)


class BrokerRecord(_Facts):
    """Everything about a broker that is a fact and not code; one file in config/brokers/.

    `live_hosts` are the hosts that a live account may use; `live_domains` (with all their sub-domains) are what
    a paper account of any broker must never reach.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9]*$")
    live_hosts: list[HostName]
    live_domains: list[HostName]
    live_order_stream: str | None
    timeouts: Timeouts
    limits: dict[EndpointGroup, RateLimit]
    capabilities: Capabilities


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AccountCredentials:
    """What an account logs in with. Its repr names the client code only."""

    client_code: str
    pin: str
    totp_secret: str
    api_key: str

    def __repr__(self) -> str:
        return f"AccountCredentials(client_code={self.client_code!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Who the broker takes us for, and in which of its segments that client may trade."""

    client_code: str
    segments: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Prices of one instrument, in rupees. `volume` in units of the day; `at` is the feed's time in UTC."""

    exchange: Exchange
    trading_symbol: str
    token: str
    last_price: Decimal
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """One candle of the broker's history, stamped with its start in UTC. Prices in rupees, volume in units."""

    start: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int


class CandleInterval(StrEnum):
    """Lengths of candles that Indian brokers share."""

    ONE_MINUTE = "ONE_MINUTE"
    FIVE_MINUTE = "FIVE_MINUTE"
    FIFTEEN_MINUTE = "FIFTEEN_MINUTE"
    ONE_HOUR = "ONE_HOUR"
    ONE_DAY = "ONE_DAY"


class BrokerClient(Broker, Protocol):
    """All calls of an adapter. Reads raise `BrokerUnreadable` or `SessionDead`; writes end in an outcome."""

    record: BrokerRecord

    async def logout(self, session: BrokerSession) -> None:
        """End a session at the broker."""

    async def profile(self, session: BrokerSession) -> Profile:
        """Return who is logged in."""

    async def last_price(
        self, session: BrokerSession, *, exchange: Exchange, trading_symbol: str, token: str
    ) -> Decimal:
        """Return the last traded price in rupees."""

    async def quotes(self, session: BrokerSession, tokens: dict[Exchange, list[str]]) -> list[Quote]:
        """Return quotes of all the tokens; a token that the broker cannot quote makes the read unreadable."""

    async def candles(
        self,
        session: BrokerSession,
        *,
        exchange: Exchange,
        token: str,
        interval: CandleInterval,
        start: datetime,
        end: datetime,
    ) -> list[Candle]:
        """Return history between two moments, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSetup:
    """What an adapter is made from. `base_url` has passed the host rules of the account's mode.

    `trade_date` tells the exchange's day, for trade rows that carry a time only.
    """

    record: BrokerRecord
    mode: AccountMode
    base_url: str
    credentials: AccountCredentials
    clock: Clock
    trade_date: Callable[[], date]


BrokerFactory = Callable[[BrokerSetup], BrokerClient]
