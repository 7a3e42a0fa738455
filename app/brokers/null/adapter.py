# ruff: noqa: ARG002 - the calls are the port's, and there is nothing to do with most of what they are given
"""Takes every order in memory, so that a measurement sees our own cost and nothing of a broker's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Self

from app.brokers.base import BrokerSetup, Candle, CandleInterval, Profile, Quote
from app.core.accounts import AccountMode
from app.core.errors import BrokerUnreadable, PaperGuardError
from app.core.instruments import Exchange
from app.core.orders import OrderType
from app.core.outcomes import Accepted, NotSent, PlaceOutcome
from app.core.ports import BrokerOrder, BrokerPosition, BrokerSession, BrokerTrade, Funds, OrderBook, PlaceRequest
from app.infra.clock import next_ist_midnight

_CASH = Decimal(10_000_000)
_NO_TOKEN = "none"  # noqa: S105  there is nothing to log in to


class NullBroker:
    """Implements `BrokerClient`. It keeps no books: it says so instead of showing empty ones."""

    def __init__(self, setup: BrokerSetup) -> None:
        if setup.mode is not AccountMode.PAPER:
            raise PaperGuardError("the null broker is for paper accounts")
        self.record = setup.record
        self._client_code = setup.credentials.client_code
        self._clock = setup.clock

    async def login(self) -> BrokerSession:
        """Return a session; nothing is checked."""
        return BrokerSession(
            client_code=self._client_code,
            access_token=_NO_TOKEN,
            refresh_token=_NO_TOKEN,
            feed_token=_NO_TOKEN,
            expires_at=next_ist_midnight(self._clock.now()),
        )

    async def refresh(self, session: BrokerSession) -> BrokerSession:
        """Return a new session."""
        return await self.login()

    async def logout(self, session: BrokerSession) -> None:
        """Do nothing."""

    async def profile(self, session: BrokerSession) -> Profile:
        """Return the client code, with no segments."""
        return Profile(client_code=self._client_code, segments=())

    async def place(self, session: BrokerSession, request: PlaceRequest, *, deadline: float) -> PlaceOutcome:
        """Accept the order, under an id that its tag makes unique across processes."""
        return self._accept(f"NULL-{request.tag}", deadline)

    async def modify(
        self, session: BrokerSession, broker_order_id: str, request: PlaceRequest, *, deadline: float
    ) -> PlaceOutcome:
        """Accept the change."""
        return self._accept(broker_order_id, deadline)

    async def cancel(
        self, session: BrokerSession, broker_order_id: str, order_type: OrderType, *, deadline: float
    ) -> PlaceOutcome:
        """Accept the cancel."""
        return self._accept(broker_order_id, deadline)

    def _accept(self, broker_order_id: str, deadline: float) -> PlaceOutcome:
        if self._clock.monotonic() >= deadline:
            return NotSent(reason="deadline passed")
        return Accepted(broker_order_id=broker_order_id)

    async def order_book(self, session: BrokerSession) -> OrderBook:
        """Raise `BrokerUnreadable`."""
        raise _no_books()

    async def trade_book(self, session: BrokerSession) -> list[BrokerTrade]:
        """Return no trades: nothing ever trades here."""
        return []

    async def positions(self, session: BrokerSession) -> list[BrokerPosition]:
        """Return no positions: nothing ever trades here."""
        return []

    async def funds(self, session: BrokerSession) -> Funds:
        """Return a fixed amount of cash."""
        return Funds(available=_CASH, net=_CASH)

    async def order_details(self, session: BrokerSession, broker_unique_id: str) -> BrokerOrder:
        """Raise `BrokerUnreadable`."""
        raise _no_books()

    async def last_price(
        self, session: BrokerSession, *, exchange: Exchange, trading_symbol: str, token: str
    ) -> Decimal:
        """Raise `BrokerUnreadable`."""
        raise _no_market()

    async def quotes(self, session: BrokerSession, tokens: dict[Exchange, list[str]]) -> list[Quote]:
        """Raise `BrokerUnreadable`."""
        raise _no_market()

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
        """Raise `BrokerUnreadable`."""
        raise _no_market()

    @asynccontextmanager
    async def order_updates(self, session: BrokerSession) -> AsyncIterator[AsyncIterator[BrokerOrder]]:
        """Open a stream on which nothing ever comes."""
        yield _Silence()

    async def close(self) -> None:
        """Do nothing."""


class _Silence:
    """An order stream on which nothing comes until its reader is cancelled."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BrokerOrder:
        await asyncio.Event().wait()
        raise StopAsyncIteration


def _no_books() -> BrokerUnreadable:
    return BrokerUnreadable("the null broker keeps no books")


def _no_market() -> BrokerUnreadable:
    return BrokerUnreadable("the null broker has no market")
