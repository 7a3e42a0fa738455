"""Where a place call fails decides what may be said about it. Every stage, on real sockets."""

import asyncio
import socket
from collections.abc import Callable
from time import monotonic

import pytest

from app.brokers.registry import broker_record
from app.core.errors import BrokerUnreadable
from app.core.outcomes import Accepted, Ambiguous, NotSent, PlaceOutcome, Refused, Throttled
from app.infra.clock import SystemClock
from tests.harness.angelone import SESSION, angelone_broker, place_request
from tests.harness.broker_server import Behaviour, BrokerServer, broker_server, golden_body, http_reply, reset

REQUEST = place_request()
RECEIPT = http_reply(golden_body("place"))


class JumpingClock(SystemClock):
    """Real time until it has been read so often as a test says, then an hour later."""

    def __init__(self) -> None:
        self.jump_s = 0.0
        self.reads = 0
        self.jump_at_read: int | None = None

    def monotonic(self) -> float:
        self.reads += 1
        if self.jump_at_read is not None and self.reads >= self.jump_at_read:
            self.jump_s = 3600.0
        return monotonic() + self.jump_s


async def place(url: str, *, within_s: float = 5.0) -> PlaceOutcome:
    broker = angelone_broker(url)
    try:
        return await broker.place(SESSION, REQUEST, deadline=monotonic() + within_s)
    finally:
        await broker.close()


def closing_at_once(server: BrokerServer) -> Behaviour:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    return behave


def closing_after_the_first_byte(server: BrokerServer) -> Behaviour:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.close()

    return behave


def closing_after_the_headers(server: BrokerServer) -> Behaviour:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    return behave


def resetting_after_the_request(server: BrokerServer) -> Behaviour:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_request(reader)
        reset(writer)

    return behave


def stalling_after_the_request(server: BrokerServer) -> Behaviour:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_request(reader)
        await asyncio.Event().wait()

    return behave


def dripping_without_end(server: BrokerServer) -> Behaviour:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.1)  # the pace of the drip: each byte comes well within the read time-out

    return behave


def never_ending_body(server: BrokerServer) -> Behaviour:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await writer.drain()

    return behave


def replying(reply: bytes) -> Callable[[BrokerServer], Behaviour]:
    return lambda server: server.answering(reply)


TRUNCATED_JSON = http_reply(golden_body("place")[:40])
CUT_OFF = RECEIPT[:-20]
WITHOUT_ORDER_ID = http_reply(b'{"status":true,"message":"SUCCESS","errorcode":"","data":{"script":"SBIN-EQ"}}')
HTML = http_reply(b"<html><body>Welcome</body></html>", headers=("Content-Type: text/html",))


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(closing_after_the_first_byte, id="closed after the first byte"),
        pytest.param(closing_after_the_headers, id="closed after the headers"),
        pytest.param(resetting_after_the_request, id="reset after the request"),
        pytest.param(stalling_after_the_request, id="stalled"),
        pytest.param(dripping_without_end, id="dripping"),
        pytest.param(never_ending_body, id="endless body"),
        pytest.param(replying(b"\x00\xff garbage\r\n\r\n"), id="garbage"),
        pytest.param(replying(CUT_OFF), id="cut off"),
        pytest.param(replying(TRUNCATED_JSON), id="truncated JSON"),
        pytest.param(replying(HTML), id="HTML"),
        pytest.param(replying(http_reply(golden_body("place"), status="500 Oops")), id="500 with a receipt"),
        pytest.param(replying(http_reply(b"", status="502 Bad Gateway")), id="502"),
        pytest.param(replying(http_reply(b"", status="400 Bad Request")), id="400 empty"),
        pytest.param(replying(http_reply(b"no", status="403 Forbidden")), id="403 without the rate text"),
        pytest.param(replying(WITHOUT_ORDER_ID), id="success without order id"),
        pytest.param(
            replying(http_reply(b"", status="302 Found", headers=("Location: http://127.0.0.1:9/",))), id="redirect"
        ),
    ],
)
async def test_whatever_fails_once_bytes_may_have_left_is_ambiguous(
    behaviour: Callable[[BrokerServer], Behaviour],
) -> None:
    async with broker_server(behaviour) as server:
        outcome = await place(server.url)
    assert isinstance(outcome, Ambiguous), outcome
    assert server.connections == 1, "a write is never tried again"


async def test_a_connection_closed_at_once_is_not_sent_only_if_no_byte_was_written() -> None:
    async with broker_server(closing_at_once) as server:
        outcome = await place(server.url)
    assert isinstance(outcome, Ambiguous | NotSent), "which of the two is a race with the close"
    assert server.connections == 1


async def test_a_receipt_is_accepted_with_both_ids() -> None:
    async with broker_server(replying(RECEIPT)) as server:
        outcome = await place(server.url)
    assert outcome == Accepted(broker_order_id="260921000000010", broker_unique_id="34reqfachdfih")


async def test_the_access_rate_page_is_throttled() -> None:
    page = http_reply(golden_body("login_rate_limited"), status="403 Forbidden")
    async with broker_server(replying(page)) as server:
        assert isinstance(await place(server.url), Throttled)


async def test_a_refused_connection_is_not_sent() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        outcome = await place(f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert outcome == NotSent(reason="ConnectError", unreachable=True)


async def test_a_name_that_does_not_resolve_is_not_sent() -> None:
    assert await place("http://no-such-host.invalid") == NotSent(reason="ConnectError", unreachable=True)


async def test_a_server_that_does_not_speak_tls_is_not_sent() -> None:
    async with broker_server(lambda server: server.answering(RECEIPT)) as server:
        outcome = await place(server.url.replace("http", "https"))
    assert isinstance(outcome, NotSent)


async def test_a_connection_slower_than_the_deadline_is_not_sent_and_ends_at_the_deadline() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.settimeout(0)
            filler.connect_ex(full.getsockname())
        started = monotonic()
        outcome = await place(f"http://127.0.0.1:{full.getsockname()[1]}", within_s=0.1)
        took = monotonic() - started
        for filler in fillers:
            filler.close()
    assert outcome == NotSent(reason="ConnectTimeout", unreachable=True)
    assert took < 0.4, "the record's own connect time-out is longer"


async def test_a_deadline_in_the_past_opens_no_connection() -> None:
    async with broker_server(replying(RECEIPT)) as server:
        outcome = await place(server.url, within_s=-0.1)
    assert outcome == NotSent(reason="deadline passed")
    assert server.connections == 0


@pytest.mark.parametrize("earlier_orders", [0, 1], ids=["new connection", "kept connection"])
async def test_a_deadline_that_passes_at_the_write_itself_lets_no_byte_out(earlier_orders: int) -> None:
    clock = JumpingClock()
    async with broker_server(lambda server: server.always(RECEIPT)) as server:
        broker = angelone_broker(server.url, clock=clock)
        for _ in range(earlier_orders):
            await broker.place(SESSION, REQUEST, deadline=clock.monotonic() + 5)
            server.received.clear()
        # Two reads come before the write: at the start of the request and for the time left to connect.
        clock.jump_at_read = clock.reads + 3
        outcome = await broker.place(SESSION, REQUEST, deadline=monotonic() + 5)
        await broker.close()
    assert outcome == NotSent(reason="deadline passed")
    assert server.connections == 1, "the connection was there, only the write was not"
    assert bytes(server.received) == b""


async def test_a_deadline_that_passes_between_headers_and_body_stops_the_body() -> None:
    clock = JumpingClock()
    head = bytearray()
    closed = asyncio.Event()

    def keeping_what_comes(server: BrokerServer) -> Behaviour:
        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head.extend(await reader.read(-1))
            closed.set()

        return behave

    async with broker_server(keeping_what_comes) as server:
        broker = angelone_broker(server.url, clock=clock)
        clock.jump_at_read = clock.reads + 4
        outcome = await broker.place(SESSION, REQUEST, deadline=monotonic() + 5)
        await broker.close()
        await asyncio.wait_for(closed.wait(), 5)
    assert outcome == Ambiguous(reason="deadline passed")
    assert b"placeOrder" in head
    assert b"tradingsymbol" not in head


async def test_a_kept_connection_is_used_again_and_one_the_broker_closed_is_not() -> None:
    closed = asyncio.Event()

    def closing_after_two(server: BrokerServer) -> Behaviour:
        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.answering(RECEIPT, RECEIPT)(reader, writer)
            writer.close()
            await writer.wait_closed()
            closed.set()

        return behave

    async with broker_server(closing_after_two) as server:
        broker = angelone_broker(server.url)
        for _ in range(2):
            assert isinstance(await broker.place(SESSION, REQUEST, deadline=monotonic() + 5), Accepted)
        assert server.connections == 1
        await closed.wait()
        assert isinstance(await broker.place(SESSION, REQUEST, deadline=monotonic() + 5), Accepted)
        assert server.connections == 2
        await broker.close()


async def test_bytes_that_an_idle_connection_received_unasked_make_it_unusable() -> None:
    answered, unasked = asyncio.Event(), asyncio.Event()

    def talking_out_of_turn(server: BrokerServer) -> Behaviour:
        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.read_request(reader)
            writer.write(RECEIPT)
            await writer.drain()
            if server.connections == 1:
                await answered.wait()
                writer.write(http_reply(b'{"status":true,"data":{"orderid":"stale"}}'))
                await writer.drain()
                unasked.set()
            await reader.read(1)

        return behave

    async with broker_server(talking_out_of_turn) as server:
        broker = angelone_broker(server.url)
        await broker.place(SESSION, REQUEST, deadline=monotonic() + 5)
        answered.set()
        await unasked.wait()
        outcome = await broker.place(SESSION, REQUEST, deadline=monotonic() + 5)
        await broker.close()
    assert outcome == Accepted(broker_order_id="260921000000010", broker_unique_id="34reqfachdfih")
    assert server.connections == 2


async def test_cancelling_a_place_call_cancels_it() -> None:
    async with broker_server(stalling_after_the_request) as server:
        broker = angelone_broker(server.url)
        call = asyncio.create_task(broker.place(SESSION, REQUEST, deadline=monotonic() + 5))
        await asyncio.wait_for(server.request_came.wait(), 5)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await broker.close()


@pytest.mark.parametrize(
    ("reply", "status"),
    [(b"<html>", "200 OK"), (b"", "500 Oops"), (golden_body("order_book")[:-9], "200 OK"), (b"[]", "200 OK")],
    ids=["HTML", "500", "truncated", "no envelope"],
)
async def test_a_book_that_cannot_be_read_is_never_an_empty_book(reply: bytes, status: str) -> None:
    async with broker_server(replying(http_reply(reply, status=status))) as server:
        broker = angelone_broker(server.url)
        with pytest.raises(BrokerUnreadable):
            await broker.order_book(SESSION)
        await broker.close()


async def test_a_book_longer_than_any_real_one_is_unreadable() -> None:
    async with broker_server(never_ending_body) as server:
        broker = angelone_broker(server.url, record=broker_record("angelone"))
        with pytest.raises(BrokerUnreadable, match="longer than"):
            await broker.order_book(SESSION)
        await broker.close()


async def test_a_request_that_contradicts_itself_is_refused_here_and_never_sent() -> None:
    async with broker_server(replying(RECEIPT)) as server:
        broker = angelone_broker(server.url)
        odd = place_request(price=None)
        placed = await broker.place(SESSION, odd, deadline=monotonic() + 5)
        changed = await broker.modify(SESSION, "1", odd, deadline=monotonic() + 5)
        await broker.close()
    assert placed == changed == Refused(code="unsendable", message="price must be positive for this order type")
    assert server.connections == 0
