"""The whole adapter under broken answers: every call ends in its typed outcome, in bounded time, whatever comes back.

The answers begin as stored ones and are broken the way wires, proxies and releases break them: cut off, replaced by a
page, with numbers beyond any size, nested without end, with keys twice, with words and fields that nobody knows.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from httpx import Headers
from hypothesis import given, settings
from hypothesis import strategies as st

from app.brokers.angelone.adapter import AngelOneBroker
from app.brokers.angelone.books import order_state, parse_orders
from app.brokers.angelone.stream import parse_frame
from app.brokers.angelone.values import Malformed, load_json
from app.brokers.base import CandleInterval
from app.brokers.http import NoReply, Reply
from app.core.errors import BrokerUnreadable, LoginRefused
from app.core.instruments import Exchange
from app.core.orders import OrderType
from app.core.outcomes import Accepted, Ambiguous, NotSent, Refused, Throttled
from app.core.ports import BrokerOrderState
from app.exchange.spoilt_answers import UNKNOWN_STATUSES
from tests.harness.angelone import SESSION, angelone_broker, place_request
from tests.harness.broker_server import golden, golden_body

STORED = (
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
)
STATUSES = (200, 202, 204, 301, 400, 401, 403, 404, 429, 500, 502, 504)
REQUEST = place_request()
BROKER = angelone_broker("http://127.0.0.1:1")
DEADLINE = float("inf")
START, END = datetime(2026, 9, 21, 3, 45, tzinfo=UTC), datetime(2026, 9, 21, 10, 0, tzinfo=UTC)
TIME_ALLOWED = timedelta(seconds=2)
"""For a body of some kilobytes, on a machine that does other things."""

HTML = "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body></body></html>"
BREAKERS = (
    "[" * 50_000,
    '{"a":' * 50_000,
    "[" * 900 + "]" * 900,
    "9" * 5_000,
    "-" + "9" * 60,
    "1." + "3" * 500,
    "1e999999999999",
    "1e-400",
    "NaN",
    "-Infinity",
    "null",
    "true",
    "[]",
    "{}",
    '""',
    '"\\ud800"',
    '"\\u0000"',
    '"' + "x" * 20_000 + '"',
    '"9999999999999999999"',
    '"١٢٣"',
    '"31-Feb-2026 25:61:61"',
)


@st.composite
def broken_text(draw: st.DrawFn, stored: str) -> str:
    """Draw the text of an answer with one place broken."""
    at = draw(st.integers(0, len(stored)))
    breaker = draw(st.sampled_from(BREAKERS))
    key = draw(st.sampled_from(("status", "success", "errorcode", "data", "orderid", "orderstatus", "quantity")))
    colon = stored.find(": ", at)
    ends = [i for i in (stored.find(",", colon), stored.find("}", colon)) if i > 0]
    return draw(
        st.sampled_from(
            (
                stored[:at],
                stored[: colon + 2] + breaker + stored[min(ends, default=len(stored)) :],
                stored.replace("{", f'{{"{key}": {breaker}, ', 1),
                stored.replace("}", f', "{key}": {breaker}}}'),
                stored.replace("{", f'{{"newsince2026": {breaker}, '),
                stored[:at] + breaker + stored[at:],
                HTML,
            )
        )
    )


def texts() -> st.SearchStrategy[str]:
    stored = st.sampled_from(STORED)
    return st.one_of(
        stored.flatmap(lambda name: broken_text(golden_body(name).decode())),
        stored.map(lambda name: golden_body(name).decode()),
    )


REPLIES = st.one_of(
    st.builds(
        lambda text, status: Reply(
            status=status, headers=Headers({"X-Paper-Exchange": "sauda"}), body=text.encode(errors="surrogatepass")
        ),
        texts(),
        st.just(200) | st.sampled_from(STATUSES),
    ),
    st.builds(NoReply, reason=st.just("ReadTimeout"), begun=st.booleans()),
)

type Call = Callable[[AngelOneBroker], Awaitable[object]]

WRITES: dict[str, Call] = {
    "place": lambda broker: broker.place(SESSION, REQUEST, deadline=DEADLINE),
    "modify": lambda broker: broker.modify(SESSION, "260921000000010", REQUEST, deadline=DEADLINE),
    "cancel": lambda broker: broker.cancel(SESSION, "260921000000010", OrderType.LIMIT, deadline=DEADLINE),
}
READS: dict[str, Call] = {
    "login": lambda broker: broker.login(),
    "refresh": lambda broker: broker.refresh(SESSION),
    "logout": lambda broker: broker.logout(SESSION),
    "profile": lambda broker: broker.profile(SESSION),
    "order_book": lambda broker: broker.order_book(SESSION),
    "trade_book": lambda broker: broker.trade_book(SESSION),
    "order_details": lambda broker: broker.order_details(SESSION, "34reqfachdfih"),
    "positions": lambda broker: broker.positions(SESSION),
    "funds": lambda broker: broker.funds(SESSION),
    "last_price": lambda broker: broker.last_price(
        SESSION, exchange=Exchange.NSE, trading_symbol="SBIN-EQ", token="3045"
    ),
    "quotes": lambda broker: broker.quotes(SESSION, {Exchange.NSE: ["3045"]}),
    "candles": lambda broker: broker.candles(
        SESSION, exchange=Exchange.NSE, token="3045", interval=CandleInterval.ONE_MINUTE, start=START, end=END
    ),
}


def answered(reply: Reply | NoReply, call: Call) -> object:
    """Make a call of the adapter to a broker that gives this reply."""

    async def exchange(*_args: object, **_options: object) -> Reply | NoReply:
        return reply

    async def run() -> object:
        BROKER._channel.exchange = exchange  # type: ignore[method-assign]
        return await call(BROKER)

    return asyncio.run(run())


@pytest.mark.parametrize("call", WRITES.values(), ids=WRITES)
@settings(deadline=TIME_ALLOWED)
@given(reply=REPLIES)
def test_every_write_ends_in_one_of_the_five_outcomes(call: Call, reply: Reply | NoReply) -> None:
    outcome = answered(reply, call)
    assert isinstance(outcome, Accepted | Refused | NotSent | Throttled | Ambiguous)
    if isinstance(reply, NoReply):
        assert isinstance(outcome, Ambiguous if reply.begun else NotSent)
    elif reply.status >= 500:
        assert isinstance(outcome, Ambiguous), "a server that failed may have passed the order on"


@pytest.mark.parametrize("call", READS.values(), ids=READS)
@settings(deadline=TIME_ALLOWED)
@given(reply=REPLIES)
def test_every_read_is_an_answer_or_unreadable(call: Call, reply: Reply | NoReply) -> None:
    with contextlib.suppress(BrokerUnreadable, LoginRefused):
        answered(reply, call)
        # To a logout, a session that is dead already is an answer too.
        assert call is READS["logout"] or (isinstance(reply, Reply) and reply.status == 200)


@settings(deadline=TIME_ALLOWED)
@given(frame=broken_text(json.dumps(golden("stream_update")["frame"])))
def test_every_frame_is_an_order_a_greeting_or_malformed(frame: str) -> None:
    with contextlib.suppress(Malformed):
        parse_frame(frame)


@given(status=st.sampled_from(UNKNOWN_STATUSES) | st.text(min_size=1, max_size=40))
def test_an_unknown_status_keeps_the_row_and_its_raw_text(status: str) -> None:
    rows = load_json(golden_body("order_book"))["data"]  # type: ignore[index]
    known = parse_orders(rows)
    rows[0] |= {"status": status, "orderstatus": status}
    order = parse_orders(rows)[0]
    assert order.broker_order_id == known[0].broker_order_id
    assert order.state is order_state(order.raw_status)
    if status in UNKNOWN_STATUSES:
        assert (order.state, order.raw_status) == (BrokerOrderState.UNRECOGNISED, status)


@given(extra=st.dictionaries(st.text(min_size=1, max_size=12).map("x-".__add__), st.text(max_size=12), max_size=5))
def test_fields_that_nobody_knows_change_nothing(extra: dict[str, str]) -> None:
    rows = load_json(golden_body("order_book"))["data"]  # type: ignore[index]
    assert list(parse_orders([row | extra for row in rows])) == list(parse_orders(rows))


def test_a_number_with_more_digits_than_any_price_is_malformed() -> None:
    book = golden_body("order_book").decode()
    start = book.index('"averageprice": ') + len('"averageprice": ')
    endless = book[:start] + "194." + "3" * 1_000_000 + book[book.index(",", start) :]
    with pytest.raises(Malformed):
        load_json(endless)
