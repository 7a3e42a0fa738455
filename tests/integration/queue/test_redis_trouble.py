"""Redis may be wiped, killed, frozen or not there yet: no job and no worker ends because of it."""

import asyncio
from collections import Counter

from arq.connections import ArqRedis

from app.queue.queue_manager import QueueManager
from tests.harness.queue import a_doorbell, a_ring, eventually, queue_client, running_worker
from tests.harness.redis import RedisProcess


class HeldJobs:
    def __init__(self) -> None:
        self.started: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.let_go = asyncio.Event()

    async def run(self, ctx: dict[str, object], **_: object) -> None:
        job_id = str(ctx["job_id"])
        self.started[job_id] += 1
        await self.let_go.wait()
        self.done[job_id] += 1


async def ring_until_heard(redis: ArqRedis, jobs: HeldJobs) -> None:
    """What the sweep does: ring until the bell hangs."""
    bell = a_ring()

    async def hangs() -> bool:
        return await a_doorbell(redis).ring([bell])

    await eventually(hangs)
    await eventually(lambda: jobs.done[str(bell.command_id)] == 1)


async def test_a_wipe_while_jobs_run_harms_neither_them_nor_what_comes_after(server: RedisProcess) -> None:
    jobs = HeldJobs()
    async with queue_client(server.url) as redis, running_worker(server.url, jobs.run) as worker:
        assert await a_doorbell(redis).rering([a_ring() for _ in range(5)])
        await eventually(lambda: len(jobs.started) == 5)
        server.flushall()
        jobs.let_go.set()
        await eventually(lambda: worker.jobs_complete == 5)
        await ring_until_heard(redis, jobs)
        assert set(jobs.started.values()) == {1}


async def test_a_bell_that_is_rung_again_after_a_wipe_does_not_start_its_running_job_twice(
    server: RedisProcess,
) -> None:
    jobs = HeldJobs()
    bell = a_ring()
    async with queue_client(server.url) as redis, running_worker(server.url, jobs.run, lease_s=60):
        assert await a_doorbell(redis).rering([bell])
        await eventually(lambda: len(jobs.started) == 1)
        server.flushall()
        assert await a_doorbell(redis).rering([bell])

        async def held_again() -> bool:
            return bool(await redis.exists(f"arq:in-progress:{bell.command_id}"))

        await eventually(held_again)
        jobs.let_go.set()
        await eventually(lambda: nothing_held(redis))
        assert await redis.zcard("orders:standard") == 0
        assert jobs.started == Counter({str(bell.command_id): 1})


async def test_a_wipe_does_not_make_a_live_worker_look_dead_for_long(server: RedisProcess) -> None:
    jobs = HeldJobs()
    async with queue_client(server.url) as redis, running_worker(server.url, jobs.run):

        async def looks_alive() -> bool:
            return (await QueueManager(redis).status()).worker_alive

        await eventually(looks_alive)
        server.flushall()
        await eventually(looks_alive, timeout_s=5)


async def test_a_worker_outlives_a_killed_redis_and_goes_on_with_the_new_one(server: RedisProcess) -> None:
    jobs = HeldJobs()
    async with queue_client(server.url) as redis, running_worker(server.url, jobs.run) as worker:
        assert await a_doorbell(redis).rering([a_ring() for _ in range(3)])
        await eventually(lambda: len(jobs.started) == 3)
        server.kill()
        jobs.let_go.set()
        await eventually(lambda: worker.jobs_complete == 3)
        server.restart()
        await ring_until_heard(redis, jobs)
        assert worker.jobs_failed == 0


async def test_a_frozen_redis_stops_no_job_and_is_told_of_its_end_afterwards(server: RedisProcess) -> None:
    jobs = HeldJobs()
    async with queue_client(server.url) as redis, running_worker(server.url, jobs.run, lease_s=60) as worker:
        assert await a_doorbell(redis).rering([a_ring() for _ in range(3)])
        await eventually(lambda: len(jobs.started) == 3)
        server.pause()
        await eventually(lambda: worker._redis_failures > 0)
        jobs.let_go.set()
        await eventually(lambda: worker.jobs_complete == 3)
        failures = worker._redis_failures
        await eventually(lambda: worker._redis_failures > failures)
        server.resume()
        await eventually(lambda: nothing_held(redis))
        assert await redis.zcard("orders:standard") == 0
        assert set(jobs.started.values()) == {1}
        await ring_until_heard(redis, jobs)


async def test_a_job_whose_lease_ran_out_in_an_outage_is_not_started_twice_by_its_own_worker(
    server: RedisProcess,
) -> None:
    jobs = HeldJobs()
    async with queue_client(server.url) as redis, running_worker(server.url, jobs.run, lease_s=0.1) as worker:
        assert await a_doorbell(redis).rering([a_ring()])
        await eventually(lambda: len(jobs.started) == 1)
        server.pause()
        await eventually(lambda: worker._redis_failures > 1)
        server.resume()
        await eventually(lambda: worker._redis_failures == 0)
        jobs.let_go.set()
        await ring_until_heard(redis, jobs)
        assert set(jobs.started.values()) == {1}


async def test_a_worker_starts_before_redis_and_drains_without_it(server: RedisProcess) -> None:
    server.kill()
    jobs = HeldJobs()
    jobs.let_go.set()
    async with queue_client(server.url) as redis:
        async with running_worker(server.url, jobs.run, drain_s=1.0) as worker:
            await eventually(lambda: worker._redis_failures > 1)
            server.restart()
            await ring_until_heard(redis, jobs)
            jobs.let_go.clear()
            assert await a_doorbell(redis).rering([a_ring()])
            await eventually(lambda: len(jobs.started) == 2)
            server.kill()
            jobs.let_go.set()
        assert sum(jobs.done.values()) == 2


async def test_what_finished_while_redis_refused_writes_is_given_back_later(server: RedisProcess) -> None:
    jobs = HeldJobs()
    async with queue_client(server.url) as redis, running_worker(server.url, jobs.run) as worker:
        bell = a_ring()
        assert await a_doorbell(redis).rering([bell])
        await eventually(lambda: len(jobs.started) == 1)
        await redis.config_set("min-replicas-to-write", 1)
        assert not await a_doorbell(redis).ring([a_ring()])
        jobs.let_go.set()
        await eventually(lambda: worker._redis_failures > 0 and worker.jobs_complete == 1)
        await redis.config_set("min-replicas-to-write", 0)
        await eventually(lambda: nothing_held(redis))
        assert jobs.started == Counter({str(bell.command_id): 1})
        await ring_until_heard(redis, jobs)


async def nothing_held(redis: ArqRedis) -> bool:
    return await redis.keys("arq:in-progress:*") == []
