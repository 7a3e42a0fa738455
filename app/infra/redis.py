"""Redis clients whose every wait is bounded. Building one does not connect, so roles start while Redis is away."""

import socket
from dataclasses import dataclass
from typing import override
from urllib.parse import SplitResult, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool

_SENTINEL_SCHEMES = {"redis+sentinel": False, "rediss+sentinel": True}
_SENTINEL_PORT = 26379


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisLimits:
    """How long a client waits, and how many connections it opens. All times in seconds."""

    connect_timeout_s: float = 1.0
    socket_timeout_s: float = 2.0
    pool_timeout_s: float = 1.0
    max_connections: int = 16
    health_check_s: int = 15


DEFAULT_LIMITS = RedisLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelAddress:
    """Where the sentinels are, and which service they watch."""

    sentinels: tuple[tuple[str, int], ...]
    service: str
    database: int
    username: str | None
    password: str | None
    tls: bool


def build_redis(url: str, limits: RedisLimits = DEFAULT_LIMITS) -> Redis:
    """Return a client that owns its pool; `await client.aclose()` closes it. For URLs see `build_pool`."""
    return Redis.from_pool(build_pool(url, limits))


def build_pool(url: str, limits: RedisLimits = DEFAULT_LIMITS) -> ConnectionPool:
    """Return a bounded pool for `redis://`, `rediss://`, `unix://` or `redis+sentinel://host:port,…/service/db`.

    Nothing is retried inside the client: whoever calls knows whether a repeat is harmless.
    Raises `ValueError` for a URL of another shape.
    """
    options: dict[str, object] = {
        "socket_connect_timeout": limits.connect_timeout_s,
        "socket_timeout": limits.socket_timeout_s,
        "health_check_interval": limits.health_check_s,
    }
    if urlsplit(url).scheme in _SENTINEL_SCHEMES:
        return _sentinel_pool(parse_sentinel_url(url), options | _keepalive(limits), limits)
    if not url.startswith("unix://"):
        options |= _keepalive(limits)
    return BlockingConnectionPool.from_url(
        url, max_connections=limits.max_connections, timeout=limits.pool_timeout_s, **options
    )


def is_sentinel_url(url: str) -> bool:
    """Whether the URL names sentinels instead of a server."""
    return urlsplit(url).scheme in _SENTINEL_SCHEMES


def parse_sentinel_url(url: str) -> SentinelAddress:
    """Take `redis+sentinel://[user:password@]host[:port],host[:port]/service[/db]` apart.

    The credentials are those of the Redis server. Raises `ValueError` when hosts or service are missing.
    """
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    service, database = _service_and_database(parts)
    sentinels = tuple(_host_and_port(host) for host in hosts.split(",") if host)
    if not sentinels:
        raise ValueError("a Sentinel URL needs at least one host: redis+sentinel://host:26379/service/0")
    return SentinelAddress(
        sentinels=sentinels,
        service=service,
        database=database,
        username=unquote(username) or None,
        password=unquote(password) or None,
        tls=_SENTINEL_SCHEMES[parts.scheme],
    )


def _service_and_database(parts: SplitResult) -> tuple[str, int]:
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("a Sentinel URL needs the name of the service: redis+sentinel://host:26379/service/0")
    return service, int(database or 0)


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    return host, int(port or _SENTINEL_PORT)


def _keepalive(limits: RedisLimits) -> dict[str, object]:
    """Without these a subscriber on a cut line would wait for hours."""
    wanted = {
        "TCP_KEEPIDLE": limits.health_check_s,
        "TCP_KEEPINTVL": 3,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": int(limits.health_check_s * 1000),
    }
    known = {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}
    return {"socket_keepalive": True, "socket_keepalive_options": known}


class _OwningSentinelPool(SentinelConnectionPool):
    """Closes the connections to the sentinels together with those to the server."""

    @override
    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:
            for client in self.sentinel_manager.sentinels:
                await client.aclose()


def _sentinel_pool(address: SentinelAddress, options: dict[str, object], limits: RedisLimits) -> ConnectionPool:
    manager = Sentinel(address.sentinels, sentinel_kwargs=dict(options))  # type: ignore[no-untyped-call]
    return _OwningSentinelPool(  # type: ignore[no-untyped-call]
        address.service,
        manager,
        ssl=address.tls,
        db=address.database,
        username=address.username,
        password=address.password,
        check_connection=True,
        max_connections=limits.max_connections,
        **options,
    )
