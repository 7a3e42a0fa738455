"""The adapter against answers that are late, odd or wrong in a word, with the exchange's ledger as the witness."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import pytest

from app.brokers.angelone.adapter import AngelOneBroker
from app.brokers.base import AccountCredentials
from app.core.errors import BrokerUnreadable
from app.core.orders import OrderType
from app.core.outcomes import Accepted, Ambiguous, NotSent, PlaceOutcome, Refused, Throttled
from app.core.ports import BrokerOrderState, BrokerSession
from tests.harness.angelone import angelone_broker, place_request
from tests.harness.exchange import ExchangeProcess, PaperClient

CLIENT = PaperClient(client_code="LIES")
CREDENTIALS = AccountCredentials(
    client_code=CLIENT.client_code, pin=CLIENT.pin, totp_secret=CLIENT.totp_secret, api_key=CLIENT.api_key
)
RESTING = place_request(trading_symbol="YESBANK-EQ", token="11915")
READS_OF_EACH = 25


@pytest.fixture(scope="module")
def running() -> Iterator[ExchangeProcess]:
    process = ExchangeProcess()
    process.add_client(CLIENT)
    yield process
    process.stop()


@pytest.fixture
def exchange(running: ExchangeProcess) -> Iterator[ExchangeProcess]:
    """The exchange, healthy again after each test, at a price at which nothing of these tests trades."""
    running.print_price("250.00")
    yield running
    running.control("PUT", "/control/faults", {"seed": 1, "rules": []})


@asynccontextmanager
async def logged_in(exchange: ExchangeProcess) -> AsyncIterator[tuple[AngelOneBroker, BrokerSession]]:
    broker = angelone_broker(exchange.url, credentials=CREDENTIALS)
    try:
        yield broker, await broker.login()
    finally:
        await broker.close()


def break_it(exchange: ExchangeProcess, kind: str, *ops: str, delay_ms: int = 0, limit: int | None = None) -> None:
    rule = {"kind": kind, "ops": list(ops), "delay_ms": delay_ms, "limit": limit}
    exchange.control("PUT", "/control/faults", {"seed": 1, "rules": [rule]})


def row_of(exchange: ExchangeProcess, order_id: str) -> dict[str, Any]:
    orders = exchange.ledger(CLIENT.client_code)["orders"]
    assert isinstance(orders, list)
    found: dict[str, Any] = next(order for order in orders if order["order_id"] == order_id)
    return found


async def rest(broker: AngelOneBroker, session: BrokerSession) -> str:
    """Place an order that rests, and return its id at the exchange."""
    placed = await broker.place(session, RESTING, deadline=soon())
    assert isinstance(placed, Accepted), placed
    return placed.broker_order_id


@pytest.mark.parametrize(
    ("kind", "outcome", "done"),
    [
        ("timeout_after_accept", Ambiguous, True),
        ("drop_after_accept", Ambiguous, True),
        ("http_5xx_after_accept", Ambiguous, True),
        ("malformed_body", Ambiguous, True),
        ("odd_body", Accepted, True),
        ("drop_before_accept", Ambiguous, False),
        ("http_5xx", Ambiguous, False),
        ("throttle_403", Throttled, False),
        ("token_expired", NotSent, False),
    ],
)
@pytest.mark.parametrize("op", ["modify", "cancel"])
async def test_no_fault_makes_the_verdict_of_a_change_say_more_than_the_ledger_knows(
    exchange: ExchangeProcess, op: str, kind: str, outcome: type[PlaceOutcome], *, done: bool
) -> None:
    async with logged_in(exchange) as (broker, session):
        order_id = await rest(broker, session)
        break_it(exchange, kind, op, delay_ms=5_000)
        if op == "modify":
            wanted = place_request(trading_symbol="YESBANK-EQ", token="11915", quantity=20)
            found = await broker.modify(session, order_id, wanted, deadline=soon())
        else:
            found = await broker.cancel(session, order_id, OrderType.LIMIT, deadline=soon())
    row = row_of(exchange, order_id)
    assert isinstance(found, outcome), found
    assert ((row["quantity"] == 20) if op == "modify" else (row["status"] == "cancelled")) is done


async def test_changes_of_an_order_that_is_over_are_refused(exchange: ExchangeProcess) -> None:
    async with logged_in(exchange) as (broker, session):
        order_id = await rest(broker, session)
        assert isinstance(await broker.cancel(session, order_id, OrderType.LIMIT, deadline=soon()), Accepted)
        for answer in (
            await broker.cancel(session, order_id, OrderType.LIMIT, deadline=soon()),
            await broker.modify(session, order_id, RESTING, deadline=soon()),
        ):
            assert isinstance(answer, Refused)
            assert answer.code == "AB1013"


async def test_no_variant_of_a_malformed_book_is_taken_for_an_empty_one(exchange: ExchangeProcess) -> None:
    async with logged_in(exchange) as (broker, session):
        await rest(broker, session)
        break_it(exchange, "malformed_body", "books")
        for read in (broker.order_book, broker.trade_book, broker.positions, broker.funds):
            for _ in range(READS_OF_EACH):
                with pytest.raises(BrokerUnreadable):
                    await read(session)


async def test_an_oddly_dressed_book_says_what_the_plain_one_says(exchange: ExchangeProcess) -> None:
    async with logged_in(exchange) as (broker, session):
        await rest(broker, session)
        exchange.print_price("190.00", volume=16)
        plain = [await read(session) for read in (broker.order_book, broker.trade_book, broker.positions, broker.funds)]
        break_it(exchange, "odd_body", "books")
        odd = [await read(session) for read in (broker.order_book, broker.trade_book, broker.positions, broker.funds)]
    assert odd == plain


async def test_an_unknown_status_changes_one_row_and_loses_none(exchange: ExchangeProcess) -> None:
    async with logged_in(exchange) as (broker, session):
        await rest(broker, session)
        known = await broker.order_book(session)
        break_it(exchange, "unknown_status", "order_book", limit=1)
        told = await broker.order_book(session)
        assert [row.broker_order_id for row in told] == [row.broker_order_id for row in known]
        strange = [row for row in told if row.state is BrokerOrderState.UNRECOGNISED]
        assert len(strange) == 1
        assert strange[0].raw_status
        assert await broker.order_book(session) == known


async def test_a_lagging_book_is_a_good_read_without_the_youngest_order(exchange: ExchangeProcess) -> None:
    async with logged_in(exchange) as (broker, session):
        order_id = await rest(broker, session)
        break_it(exchange, "lagging_book", "books", delay_ms=60_000, limit=1)
        assert order_id not in {row.broker_order_id for row in await broker.order_book(session)}
        assert order_id in {row.broker_order_id for row in await broker.order_book(session)}


def soon() -> float:
    return monotonic() + 10
