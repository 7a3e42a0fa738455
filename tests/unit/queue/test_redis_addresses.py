import pytest
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.sentinel import SentinelConnectionPool

from app.infra.redis import RedisLimits, build_pool, parse_sentinel_url
from app.queue.worker_settings import arq_settings

LIMITS = RedisLimits(connect_timeout_s=0.5, socket_timeout_s=1.5, max_connections=7)


@pytest.mark.parametrize("url", ["redis://localhost:6379/3", "unix:///tmp/redis.sock?db=3"])
def test_every_wait_and_the_pool_are_bounded(url: str) -> None:
    pool = build_pool(url, LIMITS)
    assert isinstance(pool, BlockingConnectionPool)
    assert pool.max_connections == 7
    connection = pool.make_connection()
    assert (connection.socket_connect_timeout, connection.socket_timeout, int(connection.db)) == (0.5, 1.5, 3)


def test_a_sentinel_address_keeps_the_bounds_and_the_credentials() -> None:
    pool = build_pool("redis+sentinel://user:p%40ss@one:1,two/orders/2", LIMITS)
    assert isinstance(pool, SentinelConnectionPool)
    assert pool.max_connections == 7
    connection = pool.make_connection()
    assert (connection.socket_connect_timeout, connection.socket_timeout) == (0.5, 1.5)
    assert (connection.username, connection.password, connection.db) == ("user", "p@ss", 2)


def test_a_sentinel_address_is_taken_apart() -> None:
    address = parse_sentinel_url("rediss+sentinel://one:1,two/orders")
    assert address.sentinels == (("one", 1), ("two", 26379))
    assert (address.service, address.database, address.username, address.tls) == ("orders", 0, None, True)


@pytest.mark.parametrize("url", ["redis+sentinel://one:1", "redis+sentinel:///orders", "redis+sentinel://one:1/"])
def test_a_sentinel_address_without_hosts_or_service_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="redis\\+sentinel://host"):
        parse_sentinel_url(url)


def test_an_address_that_is_no_redis_is_refused() -> None:
    with pytest.raises(ValueError, match="scheme"):
        build_pool("http://localhost")


def test_arqs_own_settings_say_the_same() -> None:
    plain = arq_settings("redis://:secret@host:1234/2")
    assert (plain.host, plain.port, plain.password, plain.database) == ("host", 1234, "secret", 2)
    watched = arq_settings("redis+sentinel://:secret@one:1,two/orders/2")
    assert (watched.sentinel, watched.host, watched.sentinel_master) == (True, [("one", 1), ("two", 26379)], "orders")
