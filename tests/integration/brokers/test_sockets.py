"""The streams below the HTTP client keep their bounds on both sides."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpcore
import pytest
import uvloop

from app.brokers.sockets import READ_BUFFER_BYTES, DeadlinePassed, SocketBackend, SocketStream, write_leave
from app.core.outcomes import Accepted, NotSent, PlaceOutcome
from tests.harness.angelone import SESSION, angelone_broker, place_request
from tests.harness.broker_server import Behaviour, BrokerServer, broker_server, golden_body, http_reply, reset
from tests.harness.tls import self_signed

FLOOD = b"x" * 4 * 1024 * 1024


async def connected(server: BrokerServer) -> SocketStream:
    stream = await SocketBackend().connect_tcp("127.0.0.1", server.port, timeout=5)
    assert isinstance(stream, SocketStream)
    return stream


async def received(stream: SocketStream) -> AsyncIterator[int]:
    while data := await stream.read(64 * 1024, timeout=5):
        yield len(data)


async def test_a_flood_is_read_whole_and_never_held_whole() -> None:
    def flooding(server: BrokerServer) -> Behaviour:
        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(FLOOD)
            await writer.drain()

        return behave

    most = total = 0
    async with broker_server(flooding) as server:
        stream = await connected(server)
        async for length in received(stream):
            most = max(most, length + len(stream._received))
            total += length
        await stream.aclose()
    assert total == len(FLOOD)
    assert most < 3 * READ_BUFFER_BYTES


async def test_a_broker_that_takes_no_bytes_times_the_write_out() -> None:
    release = asyncio.Event()

    def deaf(server: BrokerServer) -> Behaviour:
        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await release.wait()

        return behave

    async with broker_server(deaf) as server:
        stream = await connected(server)
        with pytest.raises(httpcore.WriteTimeout):
            await stream.write(FLOOD * 4, timeout=0.05)
        await stream.aclose()
        release.set()


async def test_a_broker_that_takes_bytes_slowly_gets_them_all() -> None:
    def counting(server: BrokerServer) -> Behaviour:
        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            left = len(FLOOD) * 4
            while left:
                left -= len(await reader.read(100_000))
            writer.write(b"all")

        return behave

    async with broker_server(counting) as server:
        stream = await connected(server)
        await stream.write(b"")
        await stream.write(FLOOD * 4, timeout=20)
        assert await stream.read(100, timeout=5) == b"all"
        await stream.aclose()


async def test_a_reset_is_an_error_to_the_reader_and_the_next_writer() -> None:
    def resetting(server: BrokerServer) -> Behaviour:
        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"!")
            await writer.drain()
            await asked.wait()
            reset(writer)

        return behave

    asked = asyncio.Event()
    async with broker_server(resetting) as server:
        stream = await connected(server)
        assert await stream.read(1, timeout=5) == b"!"
        await stream.write(b"bytes that nobody reads")
        asked.set()
        with pytest.raises(httpcore.ReadError):
            await stream.read(1, timeout=5)
        with pytest.raises(httpcore.WriteError):
            await stream.write(b"more")
        assert stream.get_extra_info("is_readable")


async def test_a_tls_handshake_without_an_answer_times_out() -> None:
    release = asyncio.Event()

    def silent(server: BrokerServer) -> Behaviour:
        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await release.wait()

        return behave

    async with broker_server(silent) as server:
        stream = await connected(server)
        with pytest.raises(httpcore.ConnectTimeout):
            await stream.start_tls(ssl.create_default_context(), server_hostname="localhost", timeout=0.05)
        release.set()


async def test_a_local_address_that_is_not_ours_is_a_connect_error() -> None:
    async with broker_server(lambda server: server.answering()) as server:
        with pytest.raises(httpcore.ConnectError):
            await SocketBackend().connect_tcp("127.0.0.1", server.port, local_address="192.0.2.1")


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("security", ["plain", "TLS"])
def test_bytes_are_with_the_kernel_when_the_write_returns(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], security: str, tmp_path: Path
) -> None:
    """Else a process that is stopped at the wrong moment would write them when it goes on, past the deadline."""
    certificate = self_signed(tmp_path)

    async def heard_at_once() -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            stream = await SocketBackend().connect_tcp("127.0.0.1", listener.getsockname()[1], timeout=5)
            peer, _ = await asyncio.to_thread(listener.accept)
        if security == "TLS":
            server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server_tls.load_cert_chain(certificate)
            client_tls = ssl.create_default_context(cafile=str(certificate))
            peer, _ = await asyncio.gather(
                asyncio.to_thread(server_tls.wrap_socket, peer, server_side=True),
                stream.start_tls(client_tls, "127.0.0.1", 5),
            )
        with peer:
            peer.settimeout(1)
            with pytest.raises(StopIteration):
                # One step by hand, and then a read that blocks the whole loop: it has no turn to write later.
                stream.write(b"order").send(None)
            heard = peer.recv(100)
        await stream.aclose()
        return heard

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(heard_at_once()) == b"order"


class Leave:
    """Implements `WriteLeave`: stale so many times, then given or not."""

    def __init__(self, *, stale: int, refused: bool = False) -> None:
        self.stale = stale
        self.refused = refused
        self.renewals = 0

    def ended(self) -> bool:
        return self.renewals < self.stale

    async def renew(self) -> None:
        if self.refused:
            raise DeadlinePassed("no permit")
        self.renewals += 1


async def a_write_under(leave: Leave, server: BrokerServer) -> PlaceOutcome:
    broker = angelone_broker(server.url)
    token = write_leave.set(leave)
    try:
        return await broker.place(SESSION, place_request(), deadline=time.monotonic() + 5)
    finally:
        write_leave.reset(token)
        await broker.close()


async def test_leave_that_ended_while_connecting_is_renewed_before_the_first_byte() -> None:
    leave = Leave(stale=2)
    async with broker_server(lambda server: server.answering(http_reply(golden_body("place")))) as server:
        assert isinstance(await a_write_under(leave, server), Accepted)
    assert leave.renewals == 2


async def test_without_leave_nothing_is_written_and_the_broker_is_not_to_blame() -> None:
    async with broker_server(lambda server: server.answering(b"")) as server:
        outcome = await a_write_under(Leave(stale=1, refused=True), server)
        assert bytes(server.received) == b""
    assert outcome == NotSent(reason="no permit")
    assert isinstance(outcome, NotSent)
    assert not outcome.unreachable
