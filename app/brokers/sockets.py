# ruff: noqa: ASYNC109 - the signatures are httpcore's
"""Sockets of broker requests, on which nothing is written after a request's deadline.

The check stands directly before the write, with no await in between. Ready-made network backends give the event loop
a turn there, and a process that is stopped in that turn would write an order after its claim was given up.
"""

import asyncio
import select
import socket
import ssl
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, cast

import httpcore

from app.infra.failpoints import Point, is_armed, reach

# Reading is paused above this, so that a server that sends without end cannot fill our memory.
READ_BUFFER_BYTES = 256 * 1024


class DeadlinePassed(Exception):
    """The request's deadline had passed when its next bytes were about to be written."""


class WriteLeave(Protocol):
    """Leave to begin a write, which ends by itself after a moment."""

    def ended(self) -> bool:
        """Whether the write may no longer begin."""

    async def renew(self) -> None:
        """Ask for leave again; raises `DeadlinePassed` where it is not given."""


# Set by whoever asks for a write. It is looked at on the open connection: connecting may take longer than it lasts.
write_leave: ContextVar[WriteLeave | None] = ContextVar("write_leave", default=None)


@dataclass(slots=True)
class Attempt:
    """One request on its way. `deadline` is monotonic; `begun` is true once any of its bytes was written."""

    monotonic: Callable[[], float]
    deadline: float | None
    begun: bool = False

    def check(self) -> None:
        """Raise `DeadlinePassed` when it has."""
        if self.deadline is not None and self.monotonic() >= self.deadline:
            raise DeadlinePassed("deadline passed")

    async def leave_to_begin(self) -> None:
        """Have leave at the return to write the first bytes, or raise `DeadlinePassed`."""
        leave = write_leave.get()
        while leave is not None and leave.ended():
            self.check()
            await leave.renew()

    def before_write(self) -> None:
        """Let the next bytes out, or raise `DeadlinePassed`."""
        self.check()
        self.begun = True


# httpcore writes a request in the task that asked for it, so the task's context finds the attempt.
current_attempt: ContextVar[Attempt | None] = ContextVar("current_attempt", default=None)


class SocketStream(httpcore.AsyncNetworkStream, asyncio.Protocol):
    """One connection, plain or TLS."""

    def __init__(self) -> None:
        # Set before any other call: a stream is handed out once it is connected.
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._reading_paused = False
        self._ended = False
        self._failure: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._kernel: select.poll | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    # What asyncio tells us.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport of the open connection."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take in bytes, and stop reading when nobody collects them."""
        self._received += data
        if len(self._received) >= READ_BUFFER_BYTES and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()
        self._wake_reader()

    def eof_received(self) -> bool:
        """The broker closed its side; the transport closes ours."""
        self._ended = True
        self._wake_reader()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Release whoever waits on this connection."""
        self._ended = True
        self._failure = exc
        self._wake_reader()
        self._writable.set()

    def pause_writing(self) -> None:
        """The kernel takes no more bytes for now."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The kernel takes bytes again."""
        self._writable.set()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # What httpcore asks of us.

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return the next bytes, or nothing at the end; raises `httpcore.ReadTimeout` or `ReadError`."""
        if is_armed(Point.WORKER_AFTER_SEND):
            await _order_is_sent()
        if not self._received and not self._ended:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(timeout):
                    await self._reader
            except TimeoutError:
                raise httpcore.ReadTimeout("no answer in time") from None
            finally:
                self._reader = None
        if not self._received and self._failure is not None:
            raise httpcore.ReadError(type(self._failure).__name__)
        data = bytes(self._received[:max_bytes])
        del self._received[:max_bytes]
        if self._reading_paused and not self._ended:
            self._reading_paused = False
            self._transport.resume_reading()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write bytes unless the attempt's deadline has passed; raises `DeadlinePassed`, `httpcore.WriteError`."""
        if not buffer:
            return
        attempt = current_attempt.get()
        if attempt is not None and not attempt.begun:
            await attempt.leave_to_begin()
        if self._ended or self._transport.is_closing():
            raise httpcore.WriteError("connection is closed")
        if attempt is not None:
            attempt.before_write()
        self._transport.write(buffer)
        if not self._writable.is_set():
            try:
                async with asyncio.timeout(timeout):
                    await self._writable.wait()
            except TimeoutError:
                raise httpcore.WriteTimeout("broker takes no bytes") from None

    async def aclose(self) -> None:
        """Close at once: bytes still waiting in this process are dropped, never sent late."""
        self._transport.abort()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Turn the connection into a TLS one; raises `httpcore.ConnectError` or `ConnectTimeout`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                secured = await loop.start_tls(self._transport, self, ssl_context, server_hostname=server_hostname)
        except TimeoutError:
            self._transport.abort()
            raise httpcore.ConnectTimeout("TLS handshake took too long") from None
        except (OSError, ssl.SSLError) as exc:
            self._transport.abort()
            raise httpcore.ConnectError(f"TLS: {type(exc).__name__}") from None
        self._transport = cast(asyncio.Transport, secured)
        return self

    def get_extra_info(self, info: str) -> object:
        """Answer what httpcore's pool asks: `is_readable` is true when an idle connection is no longer usable."""
        if info == "is_readable":
            return self._is_stale()
        return self._transport.get_extra_info(info)

    def _is_stale(self) -> bool:
        if self._received or self._ended or self._transport.is_closing():
            return True
        # The loop may not have looked at the socket since the broker closed it: ask the kernel itself.
        if self._kernel is None:
            self._kernel = select.poll()
            self._kernel.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(self._kernel.poll(0))


class SocketBackend(httpcore.AsyncNetworkBackend):
    """Opens `SocketStream`s for httpcore's pool."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect; raises `httpcore.ConnectError` or `ConnectTimeout`."""
        local = None if local_address is None else (local_address, 0)
        try:
            async with asyncio.timeout(timeout):
                transport, stream = await asyncio.get_running_loop().create_connection(
                    SocketStream, host, port, local_addr=local
                )
        except TimeoutError:
            raise httpcore.ConnectTimeout("connecting took too long") from None
        except OSError as exc:
            raise httpcore.ConnectError(type(exc).__name__) from None
        for option in socket_options or ():
            transport.get_extra_info("socket").setsockopt(*option)
        return stream


async def _order_is_sent() -> None:
    attempt = current_attempt.get()
    if attempt is not None and attempt.begun and attempt.deadline is not None:
        await asyncio.sleep(0)  # uvloop writes at the end of the loop's turn
        reach(Point.WORKER_AFTER_SEND)


def socket_options(*, unacknowledged_s: float) -> list[tuple[int, int, int]]:
    """Return the options of broker sockets.

    Without delay, because an order is small and urgent. Bytes that the network does not acknowledge within
    `unacknowledged_s` end the connection, so that the kernel cannot deliver an order long after we gave it up.
    """
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    user_timeout: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
    if user_timeout is not None:
        options.append((socket.IPPROTO_TCP, user_timeout, int(unacknowledged_s * 1000)))
    return options
