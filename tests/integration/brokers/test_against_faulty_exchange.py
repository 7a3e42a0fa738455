"""The adapter's verdict against the exchange's own ledger, under every fault the exchange can make."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from time import monotonic

import pytest

from app.brokers.base import AccountCredentials
from app.core.errors import BrokerUnreadable, LoginRefused, SessionDead
from app.core.outcomes import Accepted, Ambiguous, NotSent, PlaceOutcome, Throttled
from app.core.ports import BrokerSession
from tests.harness.angelone import angelone_broker, place_request
from tests.harness.exchange import ExchangeProcess, PaperClient

CLIENT = PaperClient(client_code="FAULTS")
CREDENTIALS = AccountCredentials(
    client_code=CLIENT.client_code, pin=CLIENT.pin, totp_secret=CLIENT.totp_secret, api_key=CLIENT.api_key
)


@pytest.fixture(scope="module")
def running() -> Iterator[ExchangeProcess]:
    process = ExchangeProcess()
    process.add_client(CLIENT)
    process.print_price("180.50")
    yield process
    process.stop()


@pytest.fixture
def exchange(running: ExchangeProcess) -> Iterator[ExchangeProcess]:
    """The exchange, healthy again after each test."""
    yield running
    running.control("PUT", "/control/faults", {"seed": 1, "rules": []})


@pytest.fixture
async def session(exchange: ExchangeProcess) -> AsyncIterator[BrokerSession]:
    broker = angelone_broker(exchange.url, credentials=CREDENTIALS)
    yield await broker.login()
    await broker.close()


def break_it(exchange: ExchangeProcess, kind: str, *ops: str, delay_ms: int = 0) -> None:
    rule = {"kind": kind, "probability": 1, "ops": list(ops), "delay_ms": delay_ms}
    exchange.control("PUT", "/control/faults", {"seed": 1, "rules": [rule]})


def arrivals(exchange: ExchangeProcess) -> int:
    orders = exchange.ledger(CLIENT.client_code)["orders"]
    assert isinstance(orders, list)
    return len(orders)


@pytest.mark.parametrize(
    ("kind", "outcome", "arrived"),
    [
        ("timeout_after_accept", Ambiguous, 1),
        ("drop_after_accept", Ambiguous, 1),
        ("http_5xx_after_accept", Ambiguous, 1),
        ("malformed_body", Ambiguous, 1),
        ("odd_body", Accepted, 1),
        ("drop_before_accept", Ambiguous, 0),
        ("http_5xx", Ambiguous, 0),
        ("throttle_403", Throttled, 0),
        ("token_expired", NotSent, 0),
        ("latency", Accepted, 1),
    ],
)
async def test_no_fault_makes_the_verdict_say_more_than_the_ledger_knows(
    exchange: ExchangeProcess, session: BrokerSession, kind: str, outcome: type[PlaceOutcome], arrived: int
) -> None:
    before = arrivals(exchange)
    break_it(exchange, kind, "place", delay_ms=50 if kind == "latency" else 5_000)
    broker = angelone_broker(exchange.url, credentials=CREDENTIALS)
    found = await broker.place(session, place_request(trading_symbol="YESBANK-EQ", token="11915"), deadline=soon())
    await broker.close()
    assert isinstance(found, outcome), found
    assert arrivals(exchange) - before == arrived


@pytest.mark.parametrize("kind", ["http_5xx", "drop_before_accept", "malformed_body", "throttle_403"])
async def test_a_book_behind_a_fault_is_unreadable(
    exchange: ExchangeProcess, session: BrokerSession, kind: str
) -> None:
    break_it(exchange, kind, "books")
    broker = angelone_broker(exchange.url, credentials=CREDENTIALS)
    for read in (broker.order_book, broker.trade_book, broker.positions):
        with pytest.raises(BrokerUnreadable):
            await read(session)
    await broker.close()


async def test_a_token_that_expires_is_a_dead_session(exchange: ExchangeProcess, session: BrokerSession) -> None:
    break_it(exchange, "token_expired", "books")
    broker = angelone_broker(exchange.url, credentials=CREDENTIALS)
    with pytest.raises(SessionDead):
        await broker.order_book(session)
    await broker.close()


@pytest.mark.parametrize(
    ("wrong", "configuration"),
    [
        ({"pin": "0000"}, True),
        ({"totp_secret": "KVKFKRCPNZQUYMLXKVKFKRCPNZQUYMLX"}, False),
        ({"api_key": "other"}, True),
        ({"client_code": "NOBODY"}, True),
    ],
    ids=["PIN", "TOTP", "API key", "client code"],
)
async def test_wrong_credentials_are_a_refused_login(
    exchange: ExchangeProcess, wrong: dict[str, str], *, configuration: bool
) -> None:
    broker = angelone_broker(exchange.url, credentials=replace(CREDENTIALS, **wrong))
    with pytest.raises(LoginRefused) as refused:
        await broker.login()
    await broker.close()
    assert refused.value.configuration is configuration


async def test_a_restarted_exchange_is_met_on_a_new_connection(
    exchange: ExchangeProcess, session: BrokerSession
) -> None:
    broker = angelone_broker(exchange.url, credentials=CREDENTIALS)
    before = await broker.funds(session)
    exchange.restart()
    assert await broker.funds(session) == before
    await broker.close()


def soon() -> float:
    return monotonic() + 10
