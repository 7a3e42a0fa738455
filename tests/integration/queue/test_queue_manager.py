from datetime import UTC, datetime, timedelta

import pytest
from arq.connections import ArqRedis

from app.core.orders import Lane, Urgency
from app.queue.claims import Claims, FreeSlots
from app.queue.errors import QueueUnreachable
from app.queue.jobs import FinishedJob
from app.queue.lanes import HEALTH_KEY, LANES
from app.queue.queue_manager import LaneDepth, QueueManager
from tests.harness.queue import a_doorbell, a_ring, queue_client
from tests.harness.redis import RedisProcess


async def test_an_empty_queue_without_workers_says_so(redis: ArqRedis) -> None:
    status = await QueueManager(redis).status()
    empty = LaneDepth(waiting=0, delayed=0, running=0, oldest_age_s=None)
    assert status.lanes == {Lane.PRIORITY: empty, Lane.STANDARD: empty}
    assert not status.worker_alive


async def test_what_waits_runs_and_is_put_off_is_counted_apart(redis: ArqRedis) -> None:
    now = datetime.now(UTC)
    await a_doorbell(redis).rering([a_ring() for _ in range(5)])
    await a_doorbell(redis).rering(
        [a_ring(Urgency.STOP_LOSS), a_ring(Urgency.HIGH, enqueued_at=now - timedelta(minutes=2))]
    )
    claims = Claims(redis, lease_s=5)
    answer = await claims.turn(free=FreeSlots(total=3, lanes=dict.fromkeys(LANES, 3) | {Lane.PRIORITY: 0}))
    first, *_ = answer.claimed
    await claims.turn(finished=[FinishedJob(first.job_id, first.lane, 60_000)])
    await redis.set(HEALTH_KEY, "x")

    status = await QueueManager(redis).status()
    standard, priority = status.lanes[Lane.STANDARD], status.lanes[Lane.PRIORITY]
    assert (standard.waiting, standard.delayed, standard.running) == (2, 1, 2)
    assert (priority.waiting, priority.delayed, priority.running) == (2, 0, 0)
    assert priority.oldest_age_s == pytest.approx(120, abs=5)
    assert standard.oldest_age_s == pytest.approx(0, abs=5)
    assert status.worker_alive


async def test_a_redis_that_is_away_is_not_an_empty_queue(server: RedisProcess) -> None:
    async with queue_client(server.url) as redis:
        server.kill()
        with pytest.raises(QueueUnreachable):
            await QueueManager(redis).status()
