"""Whatever a broker sends, the adapter ends in a typed outcome: a value, or one of its own errors."""

import contextlib
import copy
import json
from collections.abc import Callable
from datetime import date

import pytest
from httpx import Headers
from hypothesis import given
from hypothesis import strategies as st

from app.brokers.angelone import books, market, sessions, stream
from app.brokers.angelone.envelope import data_of
from app.brokers.angelone.outcomes import PLACE_REFUSALS, write_outcome
from app.brokers.angelone.values import Malformed, load_json
from app.brokers.http import Reply
from app.core.errors import BrokerUnreadable, LoginRefused
from app.core.instruments import Exchange
from app.core.outcomes import Accepted, Ambiguous, NotSent, Refused, Throttled
from app.infra.clock import SystemClock
from tests.harness.broker_server import golden, golden_body

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(["", "NaN", "-0", "1e9", "10:15:31", "AB1009", "true", "null", "BUY", "NSE", 10**400, -(10**20)]),
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
)
STATUSES = st.sampled_from([100, 200, 202, 204, 301, 400, 401, 403, 404, 429, 500, 502, 999])
STORED = [
    "profile_invalid_token",
    "funds",
    "quote_full",
    "order_book_empty",
    "login_bad_totp",
    "login",
    "place",
    "order_book",
    "trade_book",
    "positions",
    "last_price",
    "candles",
    "profile",
]
DAY = date(2026, 9, 21)
OUTCOMES = (Accepted, Refused, NotSent, Throttled, Ambiguous)

PARSERS: list[Callable[[object], object]] = [
    books.parse_orders,
    lambda data: books.TradeBook().parse(data, DAY),
    books.parse_positions,
    books.parse_funds,
    lambda data: books.parse_details(data, "34reqfachdfih"),
    lambda data: market.parse_last_price(data, "3045"),
    lambda data: market.parse_quotes(data, {Exchange.NSE: ["3045"]}),
    market.parse_candles,
    sessions.parse_profile,
]


def places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Every place in a JSON value, outermost first."""
    inner: list[tuple[object, object]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(deeper for key, part in inner for deeper in places(part, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn, stored: object) -> object:
    """Draw a stored JSON value with one to three of its places replaced or taken out."""
    value = copy.deepcopy(stored)
    for _ in range(draw(st.integers(min_value=1, max_value=3))):
        path = draw(st.sampled_from(places(value)))
        if not path:
            return draw(JSON)
        holder = value
        for key in path[:-1]:
            holder = holder[key]  # type: ignore[index]
        if draw(st.booleans()):
            holder[path[-1]] = draw(JSON)  # type: ignore[index]
        else:
            del holder[path[-1]]  # type: ignore[attr-defined]
    return value


MUTATED_BODIES = st.sampled_from(STORED).flatmap(lambda name: mutated(golden(name)["body"])).map(json.dumps)
BODIES = st.one_of(
    st.binary(max_size=200),
    JSON.map(json.dumps),
    MUTATED_BODIES,
    st.builds(lambda name, cut: golden_body(name)[:cut], st.sampled_from(STORED), st.integers(0, 400)),
).map(lambda body: body.encode() if isinstance(body, str) else body)
REPLIES = st.builds(lambda body, status: Reply(status=status, headers=Headers(), body=body), BODIES, STATUSES)


@given(reply=REPLIES)
def test_any_reply_to_a_write_ends_in_one_of_the_five_outcomes(reply: Reply) -> None:
    outcome = write_outcome(reply)
    assert isinstance(outcome, OUTCOMES)
    if isinstance(outcome, Accepted):
        assert reply.status == 200
        assert outcome.broker_order_id.isprintable()
    if isinstance(outcome, Refused):
        assert outcome.code in PLACE_REFUSALS


@given(reply=REPLIES)
def test_any_reply_to_a_read_is_data_or_unreadable(reply: Reply) -> None:
    try:
        data_of(reply)
    except BrokerUnreadable:
        return
    assert reply.status == 200


@pytest.mark.parametrize("parse", PARSERS)
@given(body=BODIES)
def test_any_data_is_parsed_or_malformed(parse: Callable[[object], object], body: bytes) -> None:
    try:
        raw = load_json(body)
        parse(raw.get("data") if isinstance(raw, dict) else raw)
    except Malformed:
        pass


@given(reply=REPLIES)
def test_any_answer_to_a_login_is_a_session_a_refusal_or_unreadable(reply: Reply) -> None:
    try:
        session = sessions.parse_login(reply, client_code="P1001", now=SystemClock().now())
    except (BrokerUnreadable, LoginRefused):
        return
    assert session.access_token


@given(
    frame=mutated(golden("stream_update")["frame"]).map(json.dumps) | st.text(max_size=100) | st.binary(max_size=100)
)
def test_any_frame_is_an_order_a_greeting_or_malformed(frame: str | bytes) -> None:
    with contextlib.suppress(Malformed):
        stream.parse_frame(frame)


@given(broken=mutated(golden("order_book")["body"]))
def test_a_mutated_book_never_loses_a_row_silently(broken: object) -> None:
    try:
        data = data_of(Reply(status=200, headers=Headers(), body=json.dumps(broken).encode()))
        orders = books.parse_orders(data)
    except (BrokerUnreadable, Malformed):
        return
    assert data is None or len(orders) + len(orders.strange) == len(data)  # type: ignore[arg-type]
