"""The worker of the order lanes: arq's worker with owned leases, reserved slots and a wake-up instead of polling."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from time import monotonic

from arq.connections import ArqRedis
from arq.jobs import DeserializationError, deserialize_job_raw
from arq.typing import StartupShutdown, WorkerCoroutine
from arq.worker import Function, Worker
from redis.exceptions import RedisError

from app.core.orders import Lane
from app.infra.backoff import FailureCounts, backoff_s
from app.infra.failpoints import Point, reach
from app.infra.lifecycle import sleep_or_stop
from app.infra.logging import get_logger
from app.infra.wakeup import WakeUp
from app.queue.claims import Claims, FreeSlots
from app.queue.codec import deserialize, serialize
from app.queue.jobs import ClaimedJob, FinishedJob, PutOff
from app.queue.lanes import HEALTH_KEY, LANES, WAKE_CHANNEL, lane_keys
from app.queue.order_queue import OrderQueue
from app.queue.priority_queue import PriorityQueue

SAFETY_PASS_S = 1.0
"""A lost message or a lease that ran out wakes nobody, so the lanes are looked at this often at least."""

HEALTH_EVERY_S = 1.0
"""Often, because after a wipe of Redis the key is missing until the next time."""

HEALTH_TTL_S = 10.0
LEASE_RENEWALS = 3
"""Renewals within one lease: two may fail before it runs out."""

JOB_FAILED_BASE_S = 1.0
JOB_FAILED_CAP_S = 60.0
REDIS_LOST_BASE_S = 0.05
REDIS_LOST_CAP_S = 2.0
CANCEL_GRACE_S = 1.0

log = get_logger(__name__)


class OrderWorker(Worker):
    """Runs jobs of both order lanes until told to stop.

    A job is `async def job(ctx, **kwargs)`. Returning anything but `PutOff` ends it; `PutOff` runs it again later with
    the rank it has; raising counts as put off, ever longer. The lease only keeps others from ringing twice: it is
    renewed while the job runs, a failed renewal stops nothing, and the database decides who may send.

    `slots` jobs run at once, `priority_slots` of them are kept for the priority lane. The pool becomes the worker's
    own and is closed by `close`.
    """

    def __init__(
        self,
        functions: Sequence[Function | WorkerCoroutine],
        *,
        redis_pool: ArqRedis,
        slots: int,
        priority_slots: int,
        lease_s: float = 5.0,
        job_timeout_s: float = 300.0,
        ctx: dict[str, object] | None = None,
        on_startup: StartupShutdown | None = None,
        on_shutdown: StartupShutdown | None = None,
    ) -> None:
        super().__init__(
            functions,
            queue_name=lane_keys(Lane.STANDARD).ready,
            redis_pool=redis_pool,
            handle_signals=False,
            max_jobs=slots,
            job_timeout=job_timeout_s,
            keep_result=0,
            poll_delay=SAFETY_PASS_S,
            max_tries=sys.maxsize,
            retry_jobs=False,
            health_check_interval=HEALTH_EVERY_S,
            health_check_key=HEALTH_KEY,
            ctx=dict(ctx or {}),
            on_startup=on_startup,
            on_shutdown=on_shutdown,
            job_serializer=serialize,
            job_deserializer=deserialize,
        )
        if not 0 < priority_slots < slots:
            raise ValueError("priority_slots must leave a slot for each lane")
        self._priority_slots = priority_slots
        self._lanes = (PriorityQueue(), OrderQueue())
        self._running = dict.fromkeys(LANES, 0)
        self._finished: list[FinishedJob] = []
        self._claims = Claims(redis_pool, lease_s=lease_s)
        self._renew_every_s = lease_s / LEASE_RENEWALS
        self._renew_at = 0.0
        self._work = asyncio.Event()
        self._wakeup = WakeUp(redis_pool, WAKE_CHANNEL, self._work.set)
        self._job_failures = FailureCounts()
        self._redis_failures = 0

    async def main(self) -> None:
        """Run until cancelled, without a drain: what arq's own `run` and `async_run` call."""
        await self.run_until(asyncio.Event(), drain_s=0)

    async def run_until(self, stop: asyncio.Event, *, drain_s: float) -> None:
        """Run jobs until `stop` is set; then pick no more and let running ones finish for `drain_s` seconds.

        What still runs then is cancelled, and its lease runs out. Redis errors never end this.
        """
        self.loop = asyncio.get_running_loop()
        self.ctx["redis"] = self.pool
        if self.on_startup:
            await self.on_startup(self.ctx)
        log.info("queue.worker.started", token=self._claims.token, slots=self.max_jobs)
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(self._wakeup.listen()), group.create_task(self._wake_at(stop))]
                await self._work_until(stop)
                await self._drain(drain_s)
                for helper in helpers:
                    helper.cancel()
        finally:
            await self._cancel_jobs()
        log.info("queue.worker.stopped", complete=self.jobs_complete, failed=self.jobs_failed)

    async def close(self) -> None:
        """Cancel what still runs and close the pool. The health key is left for the other workers."""
        if self._pool is None:
            return
        await self._cancel_jobs()
        if self.on_shutdown:
            await self.on_shutdown(self.ctx)
        await self.pool.aclose(close_connection_pool=True)
        self._pool = None

    async def record_health(self) -> None:
        """Renew the key that `arq --check` reads, unless it was renewed a moment ago. Raises `RedisError`."""
        if monotonic() - self._last_health_check < HEALTH_EVERY_S:
            return
        self._last_health_check = monotonic()
        async with self.pool.pipeline(transaction=False) as pipe:
            for lane in LANES:
                pipe.zcard(lane_keys(lane).ready)
            queued = sum(await pipe.execute())
        report = (
            f"{datetime.now(UTC):%b-%d %H:%M:%S} j_complete={self.jobs_complete} j_failed={self.jobs_failed} "
            f"j_retried={self.jobs_retried} j_ongoing={len(self.tasks)} queued={queued}"
        )
        await self.pool.set(self.health_check_key, report, px=int(HEALTH_TTL_S * 1000))

    async def _work_until(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            pause_s = await self._turn_or_back_off()
            if self._redis_failures:
                await sleep_or_stop(stop, pause_s)
            else:
                await self._sleep(pause_s)

    async def _drain(self, drain_s: float) -> None:
        self.allow_pick_jobs = False
        deadline = monotonic() + drain_s
        while self.tasks and monotonic() < deadline:
            pause_s = await self._turn_or_back_off()
            if self.tasks:
                await self._sleep(min(pause_s, max(0.0, deadline - monotonic())))
        await self._cancel_jobs()
        if self._finished:
            await self._turn_or_back_off()

    async def _sleep(self, seconds: float) -> None:
        """Sleep until there is work, `seconds` at most."""
        timer = self.loop.call_later(seconds, self._work.set)
        await self._work.wait()
        timer.cancel()

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._work.set()

    async def _turn_or_back_off(self) -> float:
        """Talk to Redis once and return how long to rest. Redis errors are logged once, and once when they end."""
        self._work.clear()
        try:
            pause_s = await self._turn()
            await self.record_health()
        except (RedisError, OSError) as error:
            self._redis_failures += 1
            if self._redis_failures == 1:
                log.warning("queue.redis.lost", error=repr(error))
            return backoff_s(self._redis_failures, base_s=REDIS_LOST_BASE_S, cap_s=REDIS_LOST_CAP_S)
        if self._redis_failures:
            log.info("queue.redis.back", failures=self._redis_failures)
            self._redis_failures = 0
        return pause_s

    async def _turn(self) -> float:
        """Give back what has finished, renew what is due, start what there is room for; return the time to the next.

        Only one turn runs at a time, so a lease is never renewed behind its own end.
        """
        finished, self._finished = self._finished, []
        renew = list(self.tasks) if self.tasks and monotonic() >= self._renew_at else ()
        try:
            answer = await self._claims.turn(finished=finished, renew=renew, free=self._free_slots())
        except (RedisError, OSError):
            self._finished = finished + self._finished
            raise
        if not answer.finished:
            self._finished = finished + self._finished
        if renew and answer.renewed:
            self._renew_at = monotonic() + self._renew_every_s
        for job in answer.claimed:
            reach(Point.QUEUE_AFTER_TAKE)
            self._start(job)
        if answer.error is not None:
            raise answer.error
        pauses = [SAFETY_PASS_S, self._renew_every_s]
        if answer.next_due_s is not None:
            pauses.append(answer.next_due_s)
        return min(pauses)

    def _free_slots(self) -> FreeSlots | None:
        if not self.allow_pick_jobs:
            return None
        lanes = {
            lane.lane: lane.free_slots(slots=self.max_jobs, priority_slots=self._priority_slots, running=self._running)
            for lane in self._lanes
        }
        return FreeSlots(total=self.max_jobs - len(self.tasks), lanes=lanes)

    def _start(self, job: ClaimedJob) -> None:
        if job.job_id in self.tasks:
            return  # its lease ran out while Redis was away; it is ours again, and the job never stopped
        if not self.tasks:
            self._renew_at = monotonic() + self._renew_every_s
        self._running[job.lane] += 1
        self.tasks[job.job_id] = self.loop.create_task(self._run_job(job))

    async def _run_job(self, job: ClaimedJob) -> None:
        """Run one job to its end and note how it ended. A cancelled job notes nothing: its lease runs out."""
        try:
            put_off = await self._outcome(job)
            self._finished.append(FinishedJob(job.job_id, job.lane, None if put_off is None else put_off.delay_ms))
        finally:
            del self.tasks[job.job_id]
            self._running[job.lane] -= 1
            self._work.set()

    async def _outcome(self, job: ClaimedJob) -> PutOff | None:
        try:
            put_off = await self._call(job)
        except DeserializationError as error:
            # The sweep rings again for the command, with a payload that can be read.
            log.exception("queue.job.unreadable", job_id=job.job_id, error=repr(error.__cause__))
            self.jobs_failed += 1
            return None
        except Exception as error:  # isolation point: one job's error must not end the others
            log.exception("queue.job.failed", job_id=job.job_id, error=repr(error))
            self.jobs_failed += 1
            failures = self._job_failures.failed(job.job_id)
            return PutOff(backoff_s(failures, base_s=JOB_FAILED_BASE_S, cap_s=JOB_FAILED_CAP_S))
        self._job_failures.succeeded(job.job_id)
        if put_off is None:
            self.jobs_complete += 1
        else:
            self.jobs_retried += 1
        return put_off

    async def _call(self, job: ClaimedJob) -> PutOff | None:
        name, args, kwargs, _, enqueued_ms = deserialize_job_raw(job.payload, deserializer=self.job_deserializer)
        function = self.functions[name]
        ctx = self.ctx | {
            "job_id": job.job_id,
            "job_try": 1,
            "enqueue_time": datetime.fromtimestamp(enqueued_ms / 1000, UTC),
            "score": job.score,
        }
        timeout_s = self.job_timeout_s if function.timeout_s is None else function.timeout_s
        async with asyncio.timeout(timeout_s):
            result = await function.coroutine(ctx, *args, **kwargs)
        return result if isinstance(result, PutOff) else None

    async def _cancel_jobs(self) -> None:
        running = list(self.tasks.values())
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=CANCEL_GRACE_S)
