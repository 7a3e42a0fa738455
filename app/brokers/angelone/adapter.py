"""Angel One's SmartAPI as a `BrokerClient`."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from decimal import Decimal

import httpx

from app.brokers.angelone import books, market, requests, sessions, stream
from app.brokers.angelone.envelope import data_of
from app.brokers.angelone.outcomes import CHANGE_REFUSALS, PLACE_REFUSALS, write_outcome
from app.brokers.angelone.routes import Route, official_paths
from app.brokers.angelone.values import Malformed
from app.brokers.base import BrokerSetup, Candle, CandleInterval, Profile, Quote
from app.brokers.http import HttpChannel, NoReply, Reply, trusted_certificates
from app.brokers.paper_guard import PAPER_HEADER, check_paper_mark
from app.core.accounts import AccountMode
from app.core.errors import BrokerUnreadable, SessionDead
from app.core.instruments import Exchange
from app.core.orders import OrderType
from app.core.outcomes import PlaceOutcome, Refused
from app.core.ports import BrokerOrder, BrokerPosition, BrokerSession, BrokerTrade, Funds, OrderBook, PlaceRequest

# Room for some 30,000 orders, far above the broker's own hourly limit over a day.
READ_BYTES_MAX = 32 * 1024 * 1024
# A receipt has a few hundred bytes.
WRITE_BYTES_MAX = 64 * 1024

# It becomes part of a path.
_UNIQUE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)

# The broker checks the address that a request comes from, not these; the headers only have to be there.
_MACHINE_HEADERS = {
    "X-ClientLocalIP": "127.0.0.1",
    "X-ClientPublicIP": "127.0.0.1",
    "X-MACAddress": "00:00:00:00:00:00",
}


class AngelOneBroker:
    """One Angel One account. Implements `BrokerClient`."""

    def __init__(self, setup: BrokerSetup) -> None:
        self.record = setup.record
        self._credentials = setup.credentials
        self._clock = setup.clock
        self._mode = setup.mode
        self._trade_date = setup.trade_date
        self._trade_book = books.TradeBook()
        secure = setup.base_url.startswith("https:")
        self._ssl_context = trusted_certificates() if secure else None
        self._channel = HttpChannel(timeouts=setup.record.timeouts, clock=setup.clock, ssl_context=self._ssl_context)
        self._urls = {route: httpx.URL(setup.base_url + path) for route, path in official_paths().items()}
        self._stream_url = self._order_stream_url(setup)
        self._base_headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": "sauda",
            "X-UserType": "USER",
            "X-SourceID": "WEB",
            "X-PrivateKey": setup.credentials.api_key,
            **_MACHINE_HEADERS,
        }
        self._headers_of: tuple[str, httpx.Headers] = ("", httpx.Headers(self._base_headers))

    @staticmethod
    def _order_stream_url(setup: BrokerSetup) -> str:
        if setup.mode is AccountMode.LIVE and setup.record.live_order_stream is not None:
            return setup.record.live_order_stream
        return "ws" + setup.base_url.removeprefix("http") + stream.STREAM_PATH

    # Sessions

    async def login(self) -> BrokerSession:
        """Log in with PIN and TOTP; raises `LoginRefused`, `BrokerUnreadable` or `PaperGuardError`."""
        now = self._clock.now()
        totp = sessions.one_time_code(self._credentials.totp_secret, now)
        body = requests.login_body(self._credentials.client_code, self._credentials.pin, totp)
        reply = await self._send(Route.LOGIN, None, body)
        self._check_paper(reply)
        return sessions.parse_login(reply, client_code=self._credentials.client_code, now=now)

    async def refresh(self, session: BrokerSession) -> BrokerSession:
        """Exchange the session for a new one; raises `SessionDead`, `BrokerUnreadable` or `PaperGuardError`."""
        reply = await self._send(Route.REFRESH, session, requests.refresh_body(session.refresh_token))
        self._check_paper(reply)
        now = self._clock.now()
        return _understood(reply, lambda data: sessions.parse_session(data, client_code=session.client_code, now=now))

    async def logout(self, session: BrokerSession) -> None:
        """End the session; a session that is already dead is as good. Raises `BrokerUnreadable`."""
        try:
            data_of(await self._send(Route.LOGOUT, session, requests.logout_body(session.client_code)))
        except SessionDead:
            return

    async def profile(self, session: BrokerSession) -> Profile:
        """Return who is logged in."""
        return await self._read(Route.PROFILE, session, sessions.parse_profile)

    # Writes

    async def place(self, session: BrokerSession, request: PlaceRequest, *, deadline: float) -> PlaceOutcome:
        """Place one order, with one request and no retry; past `deadline` (monotonic) nothing is written."""
        try:
            body = requests.place_body(request, tag_length_max=self.record.capabilities.tag_length_max)
        except requests.UnsendableRequest as exc:
            return _unsendable(exc)
        return await self._write(Route.PLACE, session, body, PLACE_REFUSALS, deadline)

    async def modify(
        self, session: BrokerSession, broker_order_id: str, request: PlaceRequest, *, deadline: float
    ) -> PlaceOutcome:
        """Change a resting order to the given request; its quantity is the order's new total."""
        try:
            body = requests.modify_body(broker_order_id, request)
        except requests.UnsendableRequest as exc:
            return _unsendable(exc)
        return await self._write(Route.MODIFY, session, body, CHANGE_REFUSALS, deadline)

    async def cancel(
        self, session: BrokerSession, broker_order_id: str, order_type: OrderType, *, deadline: float
    ) -> PlaceOutcome:
        """Cancel a resting order."""
        body = requests.cancel_body(broker_order_id, order_type)
        return await self._write(Route.CANCEL, session, body, CHANGE_REFUSALS, deadline)

    async def _write(
        self, route: Route, session: BrokerSession, body: bytes, refusals: frozenset[str], deadline: float
    ) -> PlaceOutcome:
        reply = await self._channel.exchange(
            "POST",
            self._urls[route],
            self._headers(session),
            content=body,
            max_bytes=WRITE_BYTES_MAX,
            deadline=deadline,
        )
        return write_outcome(reply, refusals=refusals)

    # Reads

    async def order_book(self, session: BrokerSession) -> OrderBook:
        """Return the day's orders."""
        return await self._read(Route.ORDER_BOOK, session, books.parse_orders)

    async def trade_book(self, session: BrokerSession) -> list[BrokerTrade]:
        """Return the day's trades, under the date that the exchange had when the read began."""
        day = self._trade_date()
        return await self._read(Route.TRADE_BOOK, session, lambda data: self._trade_book.parse(data, day))

    async def positions(self, session: BrokerSession) -> list[BrokerPosition]:
        """Return the day's positions."""
        return await self._read(Route.POSITIONS, session, books.parse_positions)

    async def funds(self, session: BrokerSession) -> Funds:
        """Return the account's cash."""
        return await self._read(Route.FUNDS, session, books.parse_funds)

    async def order_details(self, session: BrokerSession, broker_unique_id: str) -> BrokerOrder:
        """Return one order by its `uniqueorderid`."""
        if _UNIQUE_ID.fullmatch(broker_unique_id) is None:
            raise BrokerUnreadable("the unique order id is not one of the broker's")
        url = httpx.URL(f"{self._urls[Route.ORDER_DETAILS]}{broker_unique_id}")
        reply = await self._channel.exchange("GET", url, self._headers(session), max_bytes=READ_BYTES_MAX)
        return _understood(reply, lambda data: books.parse_details(data, broker_unique_id))

    async def last_price(
        self, session: BrokerSession, *, exchange: Exchange, trading_symbol: str, token: str
    ) -> Decimal:
        """Return the last traded price in rupees."""
        body = requests.last_price_body(exchange, trading_symbol, token)
        return await self._read(Route.LAST_PRICE, session, lambda data: market.parse_last_price(data, token), body)

    async def quotes(self, session: BrokerSession, tokens: dict[Exchange, list[str]]) -> list[Quote]:
        """Return full quotes of up to 50 tokens; raises `UnsendableRequest` for more."""
        body = requests.quotes_body(tokens)
        return await self._read(Route.QUOTES, session, lambda data: market.parse_quotes(data, tokens), body)

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
        body = requests.candles_body(exchange, token, interval, start, end)
        return await self._read(Route.CANDLES, session, market.parse_candles, body)

    async def _read[Parsed](
        self, route: Route, session: BrokerSession, parse: Callable[[object], Parsed], body: bytes = b""
    ) -> Parsed:
        return _understood(await self._send(route, session, body), parse)

    # Stream and machinery

    def order_updates(self, session: BrokerSession) -> AbstractAsyncContextManager[AsyncIterator[BrokerOrder]]:
        """Open the order stream."""
        return stream.open_order_stream(
            self._stream_url,
            session.access_token,
            open_timeout_s=self.record.timeouts.total_s,
            ssl_context=self._ssl_context,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._channel.close()

    async def _send(self, route: Route, session: BrokerSession | None, body: bytes) -> Reply | NoReply:
        return await self._channel.exchange(
            "POST" if body else "GET",
            self._urls[route],
            self._headers(session),
            content=body,
            max_bytes=READ_BYTES_MAX,
        )

    def _headers(self, session: BrokerSession | None) -> httpx.Headers:
        if session is None:
            return httpx.Headers(self._base_headers)
        token, headers = self._headers_of
        if token != session.access_token:
            headers = httpx.Headers(self._base_headers | {"Authorization": f"Bearer {session.access_token}"})
            self._headers_of = (session.access_token, headers)
        return headers

    def _check_paper(self, reply: Reply | NoReply) -> None:
        """Let a paper account believe nothing that the paper exchange did not say."""
        if self._mode is AccountMode.PAPER and isinstance(reply, Reply):
            check_paper_mark(reply.headers.get_list(PAPER_HEADER))


def _understood[Parsed](reply: Reply | NoReply, parse: Callable[[object], Parsed]) -> Parsed:
    data = data_of(reply)
    try:
        return parse(data)
    except Malformed as exc:
        raise BrokerUnreadable(str(exc)) from None


def _unsendable(exc: requests.UnsendableRequest) -> Refused:
    return Refused(code="unsendable", message=str(exc))
