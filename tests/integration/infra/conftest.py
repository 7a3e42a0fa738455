from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from app.infra.redis import build_redis
from tests.harness.redis import RedisProcess


@pytest.fixture
def own_redis() -> Iterator[RedisProcess]:
    """A Redis of the test's own, to be frozen and killed."""
    server = RedisProcess()
    yield server
    server.stop()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of an empty Redis."""
    client = build_redis(redis_url)
    yield client
    await client.aclose()
