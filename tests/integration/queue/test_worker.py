import asyncio
import time
from collections import Counter

import pytest
from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix, job_key_prefix
from arq.worker import func

from app.core.orders import Lane, Urgency
from app.queue.connection import build_queue_redis
from app.queue.jobs import PutOff
from app.queue.lanes import WAKE_CHANNEL, lane_keys
from app.queue.worker import OrderWorker
from tests.harness.queue import a_doorbell, a_ring, eventually, running_worker

STANDARD = lane_keys(Lane.STANDARD)


class Jobs:
    """A job that notes its runs, holds the standard ones until let go, and answers as told."""

    def __init__(self, *, hold: bool = False) -> None:
        self.ran: Counter[str] = Counter()
        self.order: list[str] = []
        self.times: list[float] = []
        self.done: Counter[str] = Counter()
        self.let_go = asyncio.Event()
        self.answers: list[PutOff | Exception] = []
        if not hold:
            self.let_go.set()

    async def run(self, ctx: dict[str, object], *, urgency: str, **_: object) -> PutOff | None:
        job_id = str(ctx["job_id"])
        self.ran[job_id] += 1
        self.order.append(job_id)
        self.times.append(time.monotonic())
        if urgency == Urgency.NORMAL.value:
            await self.let_go.wait()
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        self.done[job_id] += 1
        return None


async def all_gone(redis: ArqRedis) -> bool:
    keys = await redis.keys("*")
    return {key for key in keys if not key.endswith(b":health-check")} == set()


async def test_a_rung_bell_is_run_and_nothing_is_left_of_it(redis: ArqRedis, redis_url: str) -> None:
    jobs = Jobs()
    async with running_worker(redis_url, jobs.run) as worker:
        bells = [a_ring(urgency) for urgency in Urgency]
        assert await a_doorbell(redis).rering(bells)
        await eventually(lambda: jobs.done == Counter(str(bell.command_id) for bell in bells))
        await eventually(lambda: all_gone(redis))
        assert (worker.jobs_complete, worker.jobs_failed, worker.jobs_retried) == (4, 0, 0)


async def test_an_idle_worker_is_woken_and_does_not_poll(redis: ArqRedis, redis_url: str) -> None:
    jobs = Jobs()
    async with running_worker(redis_url, jobs.run):
        await eventually(lambda: subscribers(redis, 1))
        waits = []
        for number in range(1, 6):
            started = time.monotonic()
            assert await a_doorbell(redis).rering([a_ring()])
            await eventually(lambda due=number: len(jobs.order) == due)
            waits.append(time.monotonic() - started)
        assert sorted(waits)[2] < 0.1


async def test_a_lost_message_is_made_up_for_by_the_safety_pass(redis: ArqRedis, redis_url: str) -> None:
    jobs = Jobs()
    async with running_worker(redis_url, jobs.run):
        await eventually(lambda: subscribers(redis, 1))
        job = await redis.enqueue_job("execute_command", _queue_name=STANDARD.ready, urgency="NORMAL")
        assert job is not None
        await eventually(lambda: jobs.done[job.job_id] == 1, timeout_s=3)


async def test_a_cut_subscription_is_made_again(redis: ArqRedis, redis_url: str) -> None:
    jobs = Jobs()
    async with running_worker(redis_url, jobs.run):
        await eventually(lambda: subscribers(redis, 1))
        (before,) = await redis.client_list(_type="pubsub")
        await redis.client_kill_filter(_type="pubsub")

        async def subscribed_anew() -> bool:
            return [client["id"] for client in await redis.client_list(_type="pubsub")] not in ([], [before["id"]])

        await eventually(subscribed_anew)
        await eventually(lambda: subscribers(redis, 1))


async def test_a_put_off_job_wakes_its_worker_on_time_even_on_a_redis_that_knew_no_scripts(
    redis: ArqRedis, redis_url: str
) -> None:
    await redis.script_flush()
    jobs = Jobs()
    jobs.answers = [PutOff(0.3)]
    async with running_worker(redis_url, jobs.run) as worker:
        bell = a_ring()
        assert await a_doorbell(redis).rering([bell])
        await eventually(lambda: worker.jobs_complete == 1)
        first, second = jobs.times
        assert 0.29 < second - first < 0.9
        await eventually(lambda: all_gone(redis))


async def test_a_failing_job_is_put_off_and_the_others_go_on(redis: ArqRedis, redis_url: str) -> None:
    jobs = Jobs()
    jobs.answers = [RuntimeError("boom")]
    async with running_worker(redis_url, jobs.run) as worker:
        failing, fine = a_ring(), a_ring()
        assert await a_doorbell(redis).rering([failing])
        await eventually(lambda: worker.jobs_failed == 1)
        assert await a_doorbell(redis).rering([fine])
        await eventually(lambda: jobs.done[str(fine.command_id)] == 1)

        async def is_delayed() -> bool:
            return await redis.zcard(STANDARD.delayed) == 1

        await eventually(is_delayed)
        assert not await redis.exists(in_progress_key_prefix + str(failing.command_id))
        await eventually(lambda: jobs.done[str(failing.command_id)] == 1)


async def test_a_job_that_no_worker_here_knows_is_kept_for_one_that_does(redis: ArqRedis, redis_url: str) -> None:
    async with running_worker(redis_url, Jobs().run) as worker:
        await redis.enqueue_job("of_a_newer_version", _queue_name=STANDARD.ready)
        await eventually(lambda: worker.jobs_failed == 1)

        async def is_delayed() -> bool:
            return await redis.zcard(STANDARD.delayed) == 1

        await eventually(is_delayed)


async def test_a_payload_that_cannot_be_read_is_taken_down(redis: ArqRedis, redis_url: str) -> None:
    bell = a_ring()
    assert await a_doorbell(redis).rering([bell])
    await redis.set(job_key_prefix + str(bell.command_id), b"\x80\x05K\x01.")
    async with running_worker(redis_url, Jobs().run) as worker:
        await eventually(lambda: worker.jobs_failed == 1)
        await eventually(lambda: all_gone(redis))


async def test_a_job_that_takes_too_long_is_cancelled_and_put_off(redis: ArqRedis, redis_url: str) -> None:
    cancelled = asyncio.Event()

    async def stuck(_ctx: dict[str, object], **_: object) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with running_worker(redis_url, stuck) as worker:
        worker.job_timeout_s = 0.05
        assert await a_doorbell(redis).rering([a_ring()])
        await eventually(lambda: worker.jobs_failed == 1)
        assert cancelled.is_set()


async def test_a_stop_loss_starts_at_once_behind_ten_thousand_orders(redis: ArqRedis, redis_url: str) -> None:
    jobs = Jobs(hold=True)
    async with running_worker(redis_url, jobs.run, slots=10, priority_slots=3):
        assert await a_doorbell(redis).rering([a_ring() for _ in range(10_000)])
        await eventually(lambda: len(jobs.ran) == 7)
        exits = [a_ring(Urgency.STOP_LOSS) for _ in range(3)]
        started = time.monotonic()
        assert await a_doorbell(redis).rering(exits)
        await eventually(lambda: all(jobs.done[str(bell.command_id)] for bell in exits))
        assert time.monotonic() - started < 0.5
        assert len(jobs.ran) == 10
        assert sum(jobs.done.values()) == 3


async def test_a_lease_is_renewed_for_as_long_as_its_job_runs(redis: ArqRedis, redis_url: str) -> None:
    jobs = Jobs(hold=True)
    async with (
        running_worker(redis_url, jobs.run, lease_s=0.3) as first,
        running_worker(redis_url, jobs.run, lease_s=0.3) as second,
    ):
        assert await a_doorbell(redis).rering([a_ring() for _ in range(5)])
        await eventually(lambda: len(jobs.ran) == 5)
        several_leases = time.monotonic() + 1.2
        await eventually(lambda: time.monotonic() > several_leases)
        assert set(jobs.ran.values()) == {1}
        jobs.let_go.set()
        await eventually(lambda: first.jobs_complete + second.jobs_complete == 5)
        await eventually(lambda: all_gone(redis))


async def test_a_lease_of_a_dead_worker_runs_out_and_another_takes_the_job(redis: ArqRedis, redis_url: str) -> None:
    jobs = Jobs(hold=True)
    async with running_worker(redis_url, jobs.run, lease_s=0.3):
        assert await a_doorbell(redis).rering([a_ring()])
        await eventually(lambda: len(jobs.ran) == 1)
    async with running_worker(redis_url, jobs.run):
        jobs.let_go.set()
        await eventually(lambda: sum(jobs.done.values()) == 1)


async def test_a_draining_worker_picks_no_more_and_finishes_what_runs(redis: ArqRedis, redis_url: str) -> None:
    jobs = Jobs(hold=True)
    worker = OrderWorker(
        [func(jobs.run, name="execute_command")], redis_pool=build_queue_redis(redis_url), slots=3, priority_slots=1
    )
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run_until(stop, drain_s=10))
    assert await a_doorbell(redis).rering([a_ring() for _ in range(4)])
    await eventually(lambda: len(jobs.ran) == 2)
    stop.set()
    assert await a_doorbell(redis).rering([a_ring(Urgency.STOP_LOSS)])
    jobs.let_go.set()
    await asyncio.wait_for(running, timeout=5)
    await worker.close()
    assert sum(jobs.done.values()) == 2
    assert len(jobs.ran) == 2
    assert await redis.zcard(STANDARD.ready) == 2
    assert await redis.keys(in_progress_key_prefix + "*") == []


async def test_a_drain_ends_at_its_deadline_and_leaves_the_lease_to_run_out(redis: ArqRedis, redis_url: str) -> None:
    jobs = Jobs(hold=True)
    async with running_worker(redis_url, jobs.run, drain_s=0.1):
        assert await a_doorbell(redis).rering([a_ring()])
        await eventually(lambda: len(jobs.ran) == 1)
    assert sum(jobs.done.values()) == 0
    assert await redis.zcard(STANDARD.ready) == 1
    assert len(await redis.keys(in_progress_key_prefix + "*")) == 1


async def test_hooks_and_context_are_those_of_arq(redis: ArqRedis, redis_url: str) -> None:
    seen: list[object] = []

    async def job(ctx: dict[str, object], **_: object) -> None:
        seen.extend((ctx["service"], type(ctx["redis"]), ctx["job_try"], ctx["job_id"]))

    async def note(ctx: dict[str, object]) -> None:
        seen.append(ctx["service"])

    worker = OrderWorker(
        [func(job, name="execute_command")],
        redis_pool=build_queue_redis(redis_url),
        slots=2,
        priority_slots=1,
        ctx={"service": "S"},
        on_startup=note,
        on_shutdown=note,
    )
    bell = a_ring()
    assert await a_doorbell(redis).rering([bell])
    running = asyncio.create_task(worker.async_run())
    await eventually(lambda: worker.jobs_complete == 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await worker.close()
    await worker.close()
    assert seen == ["S", "S", ArqRedis, 1, str(bell.command_id), "S"]


@pytest.mark.parametrize("priority_slots", [0, 5, 6])
async def test_a_worker_must_have_slots_for_both_lanes(redis: ArqRedis, priority_slots: int) -> None:
    with pytest.raises(ValueError, match="priority_slots"):
        OrderWorker([func(Jobs().run, name="j")], redis_pool=redis, slots=5, priority_slots=priority_slots)


async def subscribers(redis: ArqRedis, count: int) -> bool:
    ((_, number),) = await redis.pubsub_numsub(WAKE_CHANNEL)
    return number == count
