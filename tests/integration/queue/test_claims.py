from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix, job_key_prefix
from redis.exceptions import ResponseError

from app.core.orders import Lane, Urgency
from app.core.ports import Ring
from app.queue.claims import Claims, FreeSlots
from app.queue.jobs import ClaimedJob, FinishedJob
from app.queue.lanes import LANES, lane_keys, rank
from app.queue.scripts import PAGE
from tests.harness.queue import a_doorbell, a_ring, eventually

PRIORITY, STANDARD = lane_keys(Lane.PRIORITY), lane_keys(Lane.STANDARD)


def free(total: int, lanes: Mapping[Lane, int] | None = None) -> FreeSlots:
    return FreeSlots(total=total, lanes=lanes or dict.fromkeys(LANES, total))


def done(job: ClaimedJob) -> FinishedJob:
    return FinishedJob(job.job_id, job.lane)


async def claim(claims: Claims, total: int) -> list[ClaimedJob]:
    return (await claims.turn(free=free(total))).claimed


async def ring(redis: ArqRedis, *rings: Ring) -> None:
    assert await a_doorbell(redis).rering(rings)


async def test_the_most_urgent_is_claimed_first_then_the_oldest(redis: ArqRedis) -> None:
    now = datetime.now(UTC)
    rings = [
        a_ring(urgency, enqueued_at=now - timedelta(seconds=age))
        for urgency in (Urgency.NORMAL, Urgency.HIGH, Urgency.STOP_LOSS, Urgency.CRITICAL)
        for age in (1, 5)
    ]
    await ring(redis, *rings)
    claimed = await claim(Claims(redis, lease_s=5), 8)
    wanted = sorted(rings, key=lambda bell: (-bell.urgency.band, bell.enqueued_at))
    assert [job.job_id for job in claimed] == [str(bell.command_id) for bell in wanted]
    assert [job.lane for job in claimed] == [bell.lane for bell in wanted]
    assert [job.score for job in claimed] == [rank(bell.urgency, bell.enqueued_at) for bell in wanted]


async def test_one_round_trip_fills_each_lane_as_far_as_it_may(redis: ArqRedis) -> None:
    await ring(redis, *(a_ring(Urgency.HIGH) for _ in range(2)), *(a_ring() for _ in range(9)))
    answer = await Claims(redis, lease_s=5).turn(free=free(6, {Lane.PRIORITY: 6, Lane.STANDARD: 3}))
    assert [job.lane for job in answer.claimed] == [Lane.PRIORITY] * 2 + [Lane.STANDARD] * 3
    answer = await Claims(redis, lease_s=5).turn(free=free(2, {Lane.PRIORITY: 2, Lane.STANDARD: 9}))
    assert len(answer.claimed) == 2


async def test_four_workers_of_a_hundred_slots_walk_past_what_others_hold(redis: ArqRedis) -> None:
    jobs = 4 * 100 + PAGE
    await ring(redis, *(a_ring() for _ in range(jobs)))
    workers = [Claims(redis, lease_s=30) for _ in range(4)]
    claimed = [job.job_id for worker in workers for job in await claim(worker, 100)]
    claimed += [job.job_id for job in await claim(workers[0], jobs)]
    assert len(claimed) == jobs
    assert len(set(claimed)) == jobs
    assert await claim(workers[1], 100) == []


async def test_a_stale_owner_cannot_end_the_new_owners_lease(redis: ArqRedis) -> None:
    bell = a_ring()
    await ring(redis, bell)
    stale, owner = Claims(redis, lease_s=0.02), Claims(redis, lease_s=30)
    (job,) = await claim(stale, 1)
    lease = in_progress_key_prefix + job.job_id

    async def lease_is_gone() -> bool:
        return not await redis.exists(lease)

    await eventually(lease_is_gone)
    assert [again.job_id for again in await claim(owner, 1)] == [job.job_id]

    await stale.turn(finished=[done(job), FinishedJob(job.job_id, job.lane, 10)], renew=[job.job_id])
    assert await redis.get(lease) == owner.token.encode()
    assert await redis.pttl(lease) > 5_000
    assert await redis.zscore(STANDARD.ready, job.job_id) == job.score

    await owner.turn(finished=[done(job)])
    assert await redis.keys("*") == []


async def test_what_is_put_off_comes_back_when_due_with_the_rank_it_had(redis: ArqRedis) -> None:
    old = datetime.now(UTC) - timedelta(minutes=5)
    await ring(redis, a_ring(Urgency.CRITICAL, enqueued_at=old), a_ring(Urgency.CRITICAL))
    claims = Claims(redis, lease_s=5)
    first, second = await claim(claims, 2)
    answer = await claims.turn(finished=[FinishedJob(first.job_id, first.lane, 60), done(second)], free=free(1))
    assert answer.claimed == []
    assert answer.next_due_s == pytest.approx(0.06, abs=0.05)
    assert not await redis.exists(in_progress_key_prefix + first.job_id)
    await ring(redis, a_ring(Urgency.CRITICAL))

    back: list[ClaimedJob] = []

    async def is_back() -> bool:
        back.extend(await claim(claims, 2))
        return first.job_id in [job.job_id for job in back]

    await eventually(is_back)
    assert [job.score for job in back if job.job_id == first.job_id] == [first.score]
    assert await redis.zcard(PRIORITY.delayed) == 0
    assert await redis.hlen(PRIORITY.ranks) == 0


async def test_stale_job_not_restored_after_delete(redis: ArqRedis) -> None:
    """A late put-off of a worker that lost its lease must not bring back what another has finished since."""
    bell = a_ring()
    await ring(redis, bell)
    stale, owner = Claims(redis, lease_s=0.02), Claims(redis, lease_s=30)
    (job,) = await claim(stale, 1)
    taken: list[ClaimedJob] = []

    async def taken_over() -> bool:
        taken.extend(await claim(owner, 1))
        return bool(taken)

    await eventually(taken_over)
    await owner.turn(finished=[done(job)])
    # Its renewal finds no lease and takes it back, as it should after a wipe; then it puts the job off.
    await stale.turn(renew=[job.job_id])
    await stale.turn(finished=[FinishedJob(job.job_id, job.lane, 10)])
    assert await redis.keys("*") == []
    assert await claim(owner, 1) == []


async def test_a_bell_that_was_put_off_and_lost_its_payload_does_not_come_back(redis: ArqRedis) -> None:
    await ring(redis, a_ring())
    claims = Claims(redis, lease_s=5)
    (job,) = await claim(claims, 1)
    await claims.turn(finished=[FinishedJob(job.job_id, job.lane, 1)])
    await redis.delete(job_key_prefix + job.job_id)

    async def due_and_gone() -> bool:
        assert await claim(claims, 1) == []
        return await redis.keys("*") == []

    await eventually(due_and_gone)


async def test_a_bell_whose_payload_has_expired_is_taken_down(redis: ArqRedis) -> None:
    lost, kept = a_ring(), a_ring()
    await ring(redis, lost, kept)
    await redis.delete(job_key_prefix + str(lost.command_id))
    assert [job.job_id for job in await claim(Claims(redis, lease_s=5), 5)] == [str(kept.command_id)]
    assert await redis.zrange(STANDARD.ready, 0, -1) == [str(kept.command_id).encode()]


async def test_a_renewal_keeps_leases_and_takes_back_those_that_a_wipe_removed(redis: ArqRedis) -> None:
    await ring(redis, a_ring(), a_ring())
    claims = Claims(redis, lease_s=30)
    jobs = await claim(claims, 2)
    leases = [in_progress_key_prefix + job.job_id for job in jobs]
    await redis.pexpire(leases[0], 1000)
    await redis.delete(leases[1])
    await claims.turn(renew=[job.job_id for job in jobs])
    for lease in leases:
        assert await redis.get(lease) == claims.token.encode()
        assert await redis.pttl(lease) > 20_000


async def test_finishing_twice_or_after_a_wipe_changes_nothing(redis: ArqRedis) -> None:
    await ring(redis, a_ring())
    claims = Claims(redis, lease_s=5)
    (job,) = await claim(claims, 1)
    await redis.flushall()
    for finished in (done(job), done(job), FinishedJob(job.job_id, job.lane, 50)):
        assert (await claims.turn(finished=[finished])).error is None
    assert await redis.keys("*") == []


async def test_a_job_deferred_by_arqs_own_client_is_not_due_before_its_time(redis: ArqRedis) -> None:
    await redis.enqueue_job("job", _queue_name=STANDARD.ready, _defer_by=60)
    answer = await Claims(redis, lease_s=5).turn(free=free(5))
    assert answer.claimed == []
    assert answer.next_due_s == pytest.approx(60, abs=5)


async def test_a_redis_that_has_forgotten_the_scripts_learns_them_again(redis: ArqRedis) -> None:
    await ring(redis, a_ring(), a_ring())
    claims = Claims(redis, lease_s=5)
    (job,) = await claim(claims, 1)
    await redis.script_flush()
    answer = await claims.turn(finished=[done(job)], renew=["other"], free=free(1))
    assert len(answer.claimed) == 1
    assert answer.error is None


async def test_a_script_that_redis_refuses_is_told_beside_what_did_work(redis: ArqRedis) -> None:
    await ring(redis, a_ring())
    claims = Claims(redis, lease_s=5)
    (job,) = await claim(claims, 1)
    await redis.rename(STANDARD.ready, "aside")
    await redis.set(STANDARD.ready, "no sorted set")
    answer = await claims.turn(finished=[done(job)], renew=[job.job_id])
    assert isinstance(answer.error, ResponseError)
    assert not answer.finished
    assert answer.renewed
