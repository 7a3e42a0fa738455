"""One HTTP request to a broker: a whole bounded reply, or how far the request had come without one."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache

import httpcore
import httpx

from app.brokers.base import Timeouts
from app.brokers.sockets import Attempt, DeadlinePassed, SocketBackend, current_attempt, socket_options
from app.core.ports import Clock

# Above a worker's slots with room for reads, so that an order never waits for a connection in normal running.
MAX_CONNECTIONS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A complete HTTP reply."""

    status: int
    headers: httpx.Headers
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NoReply:
    """No complete reply came. `begun` is false only when provably no byte of the request was written.

    `kept_back` is true when we ourselves held the request back, because its time was over.
    """

    reason: str
    begun: bool
    kept_back: bool = False


class BodyTooLarge(Exception):
    """The reply's body is longer than the call allows."""


class HttpChannel:
    """Pooled keep-alive connections to one broker: no retry, no redirect, no cookie, nothing from the environment."""

    def __init__(self, *, timeouts: Timeouts, clock: Clock, ssl_context: ssl.SSLContext | None = None) -> None:
        self._client = httpx.AsyncClient(
            transport=_PooledTransport(timeouts, ssl_context), follow_redirects=False, trust_env=False
        )
        self._timeouts = timeouts
        self._monotonic = clock.monotonic

    async def exchange(
        self,
        method: str,
        url: httpx.URL,
        headers: httpx.Headers,
        *,
        content: bytes = b"",
        max_bytes: int,
        deadline: float | None = None,
    ) -> Reply | NoReply:
        """Send one request. Past `deadline` (monotonic) nothing is written; cancellation goes through."""
        attempt = Attempt(self._monotonic, deadline)
        token = current_attempt.set(attempt)
        try:
            attempt.check()
            async with asyncio.timeout(self._timeouts.total_s):
                request = httpx.Request(
                    method, url, headers=headers, content=content, extensions={"timeout": self._stages(deadline)}
                )
                return await self._roundtrip(request, max_bytes)
        except Exception as exc:  # noqa: BLE001 - isolation point: whatever failed, only how far it came counts
            return NoReply(reason=_reason(exc), begun=attempt.begun, kept_back=isinstance(exc, DeadlinePassed))
        finally:
            current_attempt.reset(token)

    async def _roundtrip(self, request: httpx.Request, max_bytes: int) -> Reply:
        response = await self._client.send(request, stream=True)
        body = bytearray()
        try:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > max_bytes:
                    raise BodyTooLarge(f"reply is longer than {max_bytes} bytes")
        finally:
            await response.aclose()
        return Reply(status=response.status_code, headers=response.headers, body=bytes(body))

    def _stages(self, deadline: float | None) -> dict[str, float]:
        times = self._timeouts
        left = times.connect_s if deadline is None else deadline - self._monotonic()
        return {
            "connect": min(times.connect_s, left),
            "pool": min(times.pool_s, left),
            "read": times.read_s,
            "write": times.write_s,
        }

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


class _PooledTransport(httpx.AsyncBaseTransport):
    """httpcore's pool over `SocketBackend`, as a transport for httpx."""

    def __init__(self, timeouts: Timeouts, ssl_context: ssl.SSLContext | None) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_CONNECTIONS,
            keepalive_expiry=timeouts.keepalive_s,
            retries=0,
            socket_options=socket_options(unacknowledged_s=timeouts.unacknowledged_s),
            network_backend=SocketBackend(),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request over a pooled connection; raises httpcore's errors and `DeadlinePassed`."""
        url = request.url
        answer = await self._pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer))

    async def aclose(self) -> None:
        """Close the pool."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    """A reply's body as httpx wants it."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._answer.aiter_stream():
            yield chunk

    async def aclose(self) -> None:
        """Give the connection back to the pool."""
        await self._answer.aclose()


@cache
def trusted_certificates() -> ssl.SSLContext:
    """Return the TLS settings of all live connections; loading the certificates takes tens of milliseconds."""
    return httpx.create_ssl_context(trust_env=False)


def _reason(exc: Exception) -> str:
    """Say what failed by the kind of failure: a foreign error's text could carry a secret."""
    return str(exc) if isinstance(exc, DeadlinePassed | BodyTooLarge) else type(exc).__name__
