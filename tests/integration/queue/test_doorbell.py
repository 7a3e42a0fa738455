import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from arq.connections import ArqRedis
from arq.constants import job_key_prefix
from arq.jobs import deserialize_job_raw

from app.core.orders import Lane, Urgency
from app.core.ports import Doorbell
from app.infra.clock import SystemClock
from app.infra.redis import build_redis
from app.queue.claims import Claims, FreeSlots
from app.queue.codec import deserialize
from app.queue.errors import QueueUnreachable
from app.queue.jobs import FinishedJob
from app.queue.lanes import LANES, WAKE_CHANNEL, epoch_ms, lane_keys, rank
from app.queue.producer import RING_TIMEOUT_S, SWEEP_BATCH, RedisDoorbell
from tests.harness.queue import a_doorbell, a_ring, eventually, queue_client
from tests.harness.redis import RedisProcess

STANDARD = lane_keys(Lane.STANDARD)


async def test_a_bell_holds_ids_and_never_contents_as_json(redis: ArqRedis) -> None:
    doorbell: Doorbell = RedisDoorbell(redis, clock=SystemClock())
    bell = a_ring(Urgency.STOP_LOSS)
    before = epoch_ms(datetime.now(UTC))
    assert await doorbell.ring([bell])
    data = await redis.get(job_key_prefix + str(bell.command_id))
    assert json.loads(data)
    name, args, kwargs, _, enqueued_ms = deserialize_job_raw(data, deserializer=deserialize)
    rung_ms = kwargs.pop("rung_ms")
    assert before <= rung_ms == enqueued_ms <= epoch_ms(datetime.now(UTC))
    assert (name, list(args)) == ("execute_command", [])
    assert kwargs == {
        "v": 2,
        "command_id": str(bell.command_id),
        "account_id": str(bell.account_id),
        "urgency": "STOP_LOSS",
        "exchange": "NSE",
    }
    assert 23 * 3600 < await redis.ttl(job_key_prefix + str(bell.command_id)) <= 24 * 3600
    assert await redis.zscore("orders:priority", str(bell.command_id)) == rank(bell.urgency, bell.enqueued_at)


async def test_ringing_again_never_changes_rank_or_payload(redis: ArqRedis) -> None:
    doorbell = a_doorbell(redis)
    bell = a_ring()
    assert await doorbell.ring([bell])
    payload = await redis.get(job_key_prefix + str(bell.command_id))
    later = a_ring(command_id=bell.command_id, enqueued_at=bell.enqueued_at + timedelta(minutes=1))
    assert await doorbell.rering([later, later])
    assert await redis.zrange(STANDARD.ready, 0, -1, withscores=True) == [
        (str(bell.command_id).encode(), rank(bell.urgency, bell.enqueued_at))
    ]
    assert await redis.get(job_key_prefix + str(bell.command_id)) == payload


async def test_ringing_for_what_is_put_off_does_not_call_it_back_early(redis: ArqRedis) -> None:
    doorbell, claims, bell = a_doorbell(redis), Claims(redis, lease_s=5), a_ring()
    assert await doorbell.ring([bell])
    slots = FreeSlots(total=1, lanes=dict.fromkeys(LANES, 1))
    (job,) = (await claims.turn(free=slots)).claimed
    await claims.turn(finished=[FinishedJob(job.job_id, job.lane, 60_000)])
    assert await doorbell.rering([bell])
    assert await redis.zcard(STANDARD.ready) == 0
    assert await redis.zcard(STANDARD.delayed) == 1


async def test_a_producers_fast_clock_does_not_make_its_orders_wait(redis: ArqRedis) -> None:
    assert await a_doorbell(redis).ring([a_ring(enqueued_at=datetime.now(UTC) + timedelta(hours=1))])
    slots = FreeSlots(total=1, lanes=dict.fromkeys(LANES, 1))
    assert len((await Claims(redis, lease_s=5).turn(free=slots)).claimed) == 1


async def test_a_batch_is_one_round_trip_and_one_message(redis: ArqRedis, redis_url: str) -> None:
    doorbell = a_doorbell(redis)
    assert await doorbell.ring([a_ring()])
    listener = build_redis(redis_url)
    async with listener.pubsub() as subscription:
        await subscription.subscribe(WAKE_CHANNEL)
        assert (await subscription.get_message(timeout=5))["type"] == "subscribe"
        calls = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
        assert await doorbell.ring([a_ring(urgency) for urgency in Urgency])
        assert (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] == calls + 1
        assert (await subscription.get_message(timeout=5))["data"] == b"4"
        assert await subscription.get_message(timeout=0.05) is None
    await listener.aclose()


async def test_nothing_to_ring_for_is_no_failure(redis: ArqRedis) -> None:
    assert await a_doorbell(redis).ring([])
    assert await redis.keys("*") == []


async def test_a_sweep_of_more_than_a_batch_rings_all(redis: ArqRedis) -> None:
    assert await a_doorbell(redis).rering([a_ring() for _ in range(SWEEP_BATCH + 1)])
    assert await redis.zcard(STANDARD.ready) == SWEEP_BATCH + 1


async def test_a_frozen_redis_costs_a_request_fifty_milliseconds_and_no_error(server: RedisProcess) -> None:
    async with queue_client(server.url) as redis:
        doorbell = a_doorbell(redis)
        assert await doorbell.ring([a_ring()])
        server.pause()
        for _ in range(3):
            started = time.monotonic()
            assert not await doorbell.ring([a_ring()])
            assert time.monotonic() - started < RING_TIMEOUT_S + 0.15
        server.resume()

        async def rings() -> bool:
            return await doorbell.ring([a_ring()])

        await eventually(rings)


async def test_a_redis_that_is_away_is_told_from_a_wiped_one(server: RedisProcess) -> None:
    async with queue_client(server.url) as redis:
        doorbell = a_doorbell(redis)
        assert await doorbell.epoch() is None
        await doorbell.set_epoch("7")
        assert await doorbell.epoch() == "7"
        server.kill()
        assert not await doorbell.ring([a_ring()])
        assert not await doorbell.rering([a_ring()])
        with pytest.raises(QueueUnreachable):
            await doorbell.epoch()
        with pytest.raises(QueueUnreachable):
            await doorbell.set_epoch("8")
        server.restart()
        assert await doorbell.epoch() is None
        assert await doorbell.ring([a_ring()])
