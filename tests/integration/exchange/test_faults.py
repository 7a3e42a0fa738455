"""Each fault does to a real connection what its name says, and the ledger knows whether the order was taken."""

import itertools
import time
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from app.exchange.faults import FaultKind, FaultRule, Faults, Op
from tests.harness.exchange import ExchangeProcess, PaperClient
from tests.harness.smartapi import LIMIT_BUY, SECURE, WireClient

_codes = itertools.count(1)
PLACE = f"{SECURE}/order/v1/placeOrder"


@pytest.fixture
async def wire(exchange: ExchangeProcess) -> AsyncIterator[WireClient]:
    """A client of its own on the real exchange."""
    client = exchange.add_client(PaperClient(client_code=f"F{next(_codes)}"))
    async with httpx.AsyncClient(base_url=exchange.url, timeout=5) as http:
        wire = WireClient(http, client)
        await wire.login()
        yield wire
        exchange.control("PUT", "/control/faults", {"seed": 0, "rules": []})


def spoil(exchange: ExchangeProcess, kind: str, **rule: object) -> None:
    exchange.control("PUT", "/control/faults", {"seed": 1, "rules": [{"kind": kind, "ops": ["place"], **rule}]})


def taken(exchange: ExchangeProcess, wire: WireClient) -> list[bool]:
    """Whether each order that the ledger holds was acknowledged."""
    orders = exchange.ledger(wire.client.client_code)["orders"]
    assert isinstance(orders, list)
    return [order["acknowledged"] for order in orders]


@pytest.mark.parametrize(("kind", "orders"), [("drop_after_accept", [False]), ("drop_before_accept", [])])
async def test_a_dropped_connection_loses_the_answer_and_perhaps_the_order(
    exchange: ExchangeProcess, wire: WireClient, kind: str, orders: list[bool]
) -> None:
    spoil(exchange, kind)
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        await wire.place(LIMIT_BUY)
    assert taken(exchange, wire) == orders


async def test_a_time_out_after_accept_keeps_silent_and_then_closes(
    exchange: ExchangeProcess, wire: WireClient
) -> None:
    spoil(exchange, "timeout_after_accept", delay_ms=300)
    began = time.monotonic()
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        await wire.place(LIMIT_BUY)
    assert time.monotonic() - began >= 0.3
    assert taken(exchange, wire) == [False]


async def test_a_malformed_body_is_the_answer_to_an_order_that_was_taken(
    exchange: ExchangeProcess, wire: WireClient
) -> None:
    spoil(exchange, "malformed_body")
    for _ in range(40):
        answer = await wire.post(PLACE, LIMIT_BUY)
        assert '"orderid"' not in answer.text or not answer.text.endswith("}")
    assert taken(exchange, wire) == [False] * 40


@pytest.mark.parametrize(
    ("kind", "status", "text"),
    [
        ("http_5xx", 502, "Bad Gateway"),
        ("throttle_403", 403, "Access denied because of exceeding access rate"),
        ("token_expired", 200, "AG8002"),
    ],
)
async def test_a_request_that_is_turned_away_leaves_no_order(
    exchange: ExchangeProcess, wire: WireClient, kind: str, status: int, text: str
) -> None:
    spoil(exchange, kind, limit=1)
    answer = await wire.post(PLACE, LIMIT_BUY)
    assert answer.status_code == status
    assert text in answer.text
    assert taken(exchange, wire) == []


async def test_an_expired_token_stays_dead_until_it_is_refreshed(exchange: ExchangeProcess, wire: WireClient) -> None:
    spoil(exchange, "token_expired", limit=1)
    await wire.place(LIMIT_BUY)
    assert (await wire.place(LIMIT_BUY))["errorCode"] == "AG8002"
    refresh = {"refreshToken": wire.tokens["refreshToken"]}
    wire.tokens = (await wire.post("/rest/auth/angelbroking/jwt/v1/generateTokens", refresh)).json()["data"]
    assert (await wire.place(LIMIT_BUY))["status"] is True


async def test_latency_delays_and_nothing_else(exchange: ExchangeProcess, wire: WireClient) -> None:
    spoil(exchange, "latency", delay_ms=200)
    began = time.monotonic()
    assert (await wire.place(LIMIT_BUY))["status"] is True
    assert time.monotonic() - began >= 0.2
    assert taken(exchange, wire) == [True]


async def test_a_rule_touches_only_its_operations_and_stops_at_its_limit(
    exchange: ExchangeProcess, wire: WireClient
) -> None:
    spoil(exchange, "http_5xx", limit=2)
    assert (await wire.get(f"{SECURE}/order/v1/getOrderBook")).status_code == 200
    assert [(await wire.post(PLACE, LIMIT_BUY)).status_code for _ in range(3)] == [502, 502, 200]
    faults = exchange.control("GET", "/control/faults")
    assert faults["rules"] == [
        {
            "kind": "http_5xx",
            "probability": 1.0,
            "ops": ["place"],
            "delay_ms": 0,
            "duration_ms": 0,
            "limit": 2,
            "fired": 2,
        }
    ]


def draws(seed: int, probability: float = 0.3) -> list[bool]:
    faults = Faults()
    faults.configure(seed, [FaultRule(kind=FaultKind.LATENCY, probability=probability, ops=frozenset({Op.ANY}))])
    return [faults.for_request(Op.PLACE) is not None for _ in range(1000)]


def test_the_seed_and_the_counter_decide_what_fires() -> None:
    assert draws(1) == draws(1)
    assert draws(1) != draws(2)


@pytest.mark.parametrize(
    ("probability", "check"),
    [(0.0, lambda n: n == 0), (0.3, lambda n: 240 < n < 360), (1.0, lambda n: n == 1000)],
)
def test_a_rule_fires_about_as_often_as_it_says(probability: float, check: Callable[[int], bool]) -> None:
    assert check(sum(draws(1, probability)))
