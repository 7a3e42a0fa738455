"""Reads keep to their own limits, also while Redis is away."""

import time
from collections.abc import AsyncIterator, Sequence
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from app.brokers import read_budget
from app.brokers.base import EndpointGroup, RateLimit
from app.brokers.governor import Budget, RedisGovernor
from app.brokers.limits import WriteLimits
from app.brokers.read_budget import ReadBudget
from app.core.errors import BrokerUnreadable
from app.infra.clock import SystemClock
from app.infra.redis import build_redis
from tests.harness.redis import RedisProcess

LIMITS = {EndpointGroup.BOOKS: RateLimit(per_second=5)}


async def nothing_sent(_account_id: UUID, _within_s: float) -> Sequence[tuple[str, float]]:
    return []


def a_read_budget(redis: Redis) -> ReadBudget:
    limits = WriteLimits(per_second=9, per_minute=None, per_hour=None, segment_per_second=10)
    budget = Budget(account_id=uuid4(), name=uuid4().hex, limits=limits)
    return ReadBudget(budget, RedisGovernor(redis, sent_writes=nothing_sent), LIMITS, SystemClock())


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = build_redis(redis_url)
    yield client
    await client.aclose()


async def seconds_for(reads: ReadBudget, group: EndpointGroup, count: int) -> float:
    started = time.monotonic()
    for _ in range(count):
        await reads.wait(group)
    return time.monotonic() - started


async def test_reads_above_the_limit_wait_for_their_turn(redis: Redis) -> None:
    assert 1.2 < await seconds_for(a_read_budget(redis), EndpointGroup.BOOKS, 6) < 2


async def test_a_group_without_a_limit_never_waits(redis: Redis) -> None:
    assert await seconds_for(a_read_budget(redis), EndpointGroup.FUNDS, 1000) < 0.5


async def test_a_read_that_would_wait_too_long_is_told_so(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_budget, "WAIT_S_MAX", 0.5)
    reads = a_read_budget(redis)
    with pytest.raises(BrokerUnreadable, match="books"):
        await seconds_for(reads, EndpointGroup.BOOKS, 6)


async def test_without_redis_the_truth_is_still_read_at_the_brokers_pace() -> None:
    server = RedisProcess()
    client = build_redis(server.url)
    try:
        server.kill()
        assert 0.75 < await seconds_for(a_read_budget(client), EndpointGroup.BOOKS, 5) < 3
    finally:
        await client.aclose()
        server.stop()
