"""The broker for measurements says what it has not."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from time import monotonic

import pytest

from app.brokers.base import AccountCredentials, BrokerSetup, CandleInterval
from app.brokers.null.adapter import NullBroker
from app.brokers.registry import broker_record
from app.core.accounts import AccountMode
from app.core.errors import BrokerUnreadable, PaperGuardError
from app.core.instruments import Exchange
from app.core.outcomes import Accepted
from app.infra.clock import SystemClock, ist_day
from tests.harness.angelone import SESSION, place_request

NOW = datetime(2026, 9, 21, tzinfo=UTC)


def setup(mode: AccountMode = AccountMode.PAPER) -> BrokerSetup:
    return BrokerSetup(
        record=broker_record("null"),
        mode=mode,
        base_url="http://127.0.0.1",
        credentials=AccountCredentials(client_code="N1", pin="", totp_secret="", api_key=""),
        clock=SystemClock(),
        trade_date=lambda: ist_day(NOW),
    )


@pytest.fixture
async def broker() -> AsyncIterator[NullBroker]:
    broker = NullBroker(setup())
    yield broker
    await broker.close()


def test_it_is_never_live() -> None:
    with pytest.raises(PaperGuardError):
        NullBroker(setup(AccountMode.LIVE))


async def test_an_orders_id_follows_from_its_tag_so_that_workers_cannot_clash(broker: NullBroker) -> None:
    outcome = await broker.place(SESSION, place_request(tag="SDX"), deadline=monotonic() + 1)
    assert outcome == Accepted(broker_order_id="NULL-SDX")


async def test_it_has_no_books_and_no_market_and_shows_none(broker: NullBroker) -> None:
    for read in (
        broker.order_book(SESSION),
        broker.order_details(SESSION, "x"),
        broker.last_price(SESSION, exchange=Exchange.NSE, trading_symbol="X", token="1"),
        broker.quotes(SESSION, {Exchange.NSE: ["1"]}),
        broker.candles(SESSION, exchange=Exchange.NSE, token="1", interval=CandleInterval.ONE_DAY, start=NOW, end=NOW),
    ):
        with pytest.raises(BrokerUnreadable):
            await read


async def test_its_stream_stays_silent_until_it_is_cancelled(broker: NullBroker) -> None:
    async def listen() -> None:
        async with broker.order_updates(SESSION) as updates:
            async for _ in updates:
                raise AssertionError("nothing ever happens here")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(listen(), 0.01)
    await broker.logout(SESSION)
