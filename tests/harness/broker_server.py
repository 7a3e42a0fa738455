"""A server on real sockets that answers a broker's client exactly as a test says, and keeps what it received."""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "angelone"

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def golden(name: str) -> dict[str, object]:
    """Return a stored response or frame by name."""
    for file in ("recorded_responses.json", "documented_responses.json"):
        stored = json.loads((GOLDEN / file).read_text(encoding="utf-8"))
        if name in stored:
            return cast(dict[str, object], stored[name])
    raise KeyError(name)


def golden_body(name: str) -> bytes:
    """Return the body of a stored response as it came over the wire."""
    stored = golden(name)
    return str(stored["text"]).encode() if "text" in stored else json.dumps(stored["body"]).encode()


def http_reply(body: bytes, *, status: str = "200 OK", headers: tuple[str, ...] = ()) -> bytes:
    """Return a whole HTTP reply."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "X-Paper-Exchange: sauda", *headers]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a reset instead of an orderly close."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class BrokerServer:
    """What the test asks: the address, and the bytes of each connection so far."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.received = bytearray()
        self.request_came = asyncio.Event()

    @property
    def url(self) -> str:
        """Base URL of the server."""
        return f"http://127.0.0.1:{self.port}"

    async def read_request(self, reader: asyncio.StreamReader) -> bytes:
        """Read one whole request and return its body."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.received += head
        length = next(
            (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0
        )
        body = await reader.readexactly(length)
        self.received += body
        self.request_came.set()
        return body

    def answering(self, *replies: bytes) -> Behaviour:
        """Answer the requests of each connection with these replies, in turn, then close it."""

        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for reply in replies:
                await self.read_request(reader)
                writer.write(reply)
                await writer.drain()

        return behave

    def always(self, reply: bytes) -> Behaviour:
        """Answer every request with the same reply."""

        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await self.read_request(reader)
                writer.write(reply)
                await writer.drain()

        return behave


@asynccontextmanager
async def broker_server(
    behaviour: Callable[[BrokerServer], Behaviour], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[BrokerServer]:
    """Serve on a free port of this machine until the test is done."""
    server = BrokerServer()
    act = behaviour(server)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        task = cast("asyncio.Task[None]", asyncio.current_task())
        tasks.add(task)
        try:
            await act(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
