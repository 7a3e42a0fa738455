from collections.abc import AsyncIterator, Iterator

import pytest
from arq.connections import ArqRedis

from tests.harness.queue import queue_client
from tests.harness.redis import RedisProcess


@pytest.fixture
def server() -> Iterator[RedisProcess]:
    """A Redis of the test's own, to be killed, frozen and wiped."""
    process = RedisProcess()
    yield process
    process.stop()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[ArqRedis]:
    async with queue_client(redis_url) as client:
        yield client
