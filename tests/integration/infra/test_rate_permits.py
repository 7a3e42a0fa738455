"""However many take permits at once, no rolling second ever sees more than the budget."""

import asyncio
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.infra.rate import WINDOW_MS, RedisRatePermits
from app.infra.redis import build_redis
from tests.harness.redis import RedisProcess

PER_SECOND = 9


async def granted(redis: Redis, account_id: UUID) -> dict[bytes, float]:
    """Return the permits in the account's log with the times in ms, by Redis' clock, at which they were given."""
    return dict(await redis.zrange(f"rate:{account_id}", 0, -1, withscores=True))


async def take_for(redis: Redis, account_id: UUID, seconds: float) -> dict[bytes, float]:
    """Take permits as fast as they come; returns all that stood in the log after each of them."""
    permits, seen = RedisRatePermits(redis), dict[bytes, float]()
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        wait_s = await permits.take(account_id, per_second=PER_SECOND)
        if wait_s == 0:
            seen |= await granted(redis, account_id)
        else:
            assert 0 < wait_s <= WINDOW_MS / 1000
            await asyncio.sleep(min(wait_s, 0.01))
    return seen


async def test_four_takers_together_never_get_more_than_the_budget_in_any_rolling_second(redis_url: str) -> None:
    account_id = uuid4()
    clients = [build_redis(redis_url) for _ in range(4)]
    try:
        taken = await asyncio.gather(*(take_for(client, account_id, 3.3) for client in clients))
    finally:
        for client in clients:
            await client.aclose()
    times = sorted({permit: at for seen in taken for permit, at in seen.items()}.values())
    assert len(times) >= 3 * PER_SECOND
    assert min(late - early for early, late in zip(times, times[PER_SECOND:], strict=False)) > 1000


async def test_a_budget_is_spent_at_once_and_the_answer_says_when_to_ask_again(redis: Redis) -> None:
    permits, account_id = RedisRatePermits(redis), uuid4()
    answers = [await permits.take(account_id, per_second=2) for _ in range(3)]
    assert answers[:2] == [0.0, 0.0]
    assert 0 < answers[2] <= WINDOW_MS / 1000
    assert len(await granted(redis, account_id)) == 2


async def test_each_account_has_a_budget_of_its_own(redis: Redis) -> None:
    permits = RedisRatePermits(redis)
    assert [await permits.take(uuid4(), per_second=1) for _ in range(3)] == [0.0] * 3


async def test_a_log_that_nobody_uses_goes_away_by_itself(redis: Redis) -> None:
    account_id = uuid4()
    await RedisRatePermits(redis).take(account_id, per_second=1)
    assert 0 < await redis.pttl(f"rate:{account_id}") <= 2 * WINDOW_MS


async def test_without_redis_there_is_no_permit(own_redis: RedisProcess) -> None:
    client = build_redis(own_redis.url)
    own_redis.kill()
    with pytest.raises((RedisError, OSError)):
        await RedisRatePermits(client).take(uuid4(), per_second=1)
    await client.aclose()
