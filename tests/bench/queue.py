"""The queue: jobs a second of stock arq and of our worker, and how long an idle worker takes to start a job.

Each run puts its jobs aside first, starts the workers, then puts the jobs in front of them with one RENAME;
it ends when the lane is empty, which is when the last job was finished, and the workers must have run each job once.
All workers are processes.
"""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

import uvloop
from arq.connections import ArqRedis
from arq.constants import default_queue_name, job_key_prefix
from arq.jobs import serialize_job

from app.core.instruments import Exchange
from app.core.orders import Lane, Urgency
from app.core.ports import Ring
from app.infra.clock import SystemClock
from app.queue.connection import build_queue_redis
from app.queue.lanes import WAKE_CHANNEL, lane_keys
from app.queue.producer import JOB_NAME, RedisDoorbell
from tests.bench.queue_worker import RAN_KEY, STARTED_KEY, WARM_KEY
from tests.harness.redis import RedisProcess

ROUNDS = 3
STOCK_JOBS = 4_000
OUR_JOBS = 48_000
IDLE_JOBS = 400
IDLE_GAP_S = 0.015
WARM_UP_JOBS = 20
RUN_TIMEOUT_S = 30.0
POLL_S = 0.002
ASIDE_KEY = "bench:aside"


def run() -> dict[str, float]:
    """Run the whole suite and return its figures: jobs a second, milliseconds, and ratios."""
    return uvloop.run(_suite())


async def _suite() -> dict[str, float]:
    rates: dict[str, list[float]] = {"stock_1w": [], "stock_2w": [], "ours_1w": [], "ours_2w": [], "ours_4w": []}
    for number in range(1, ROUNDS + 1):
        for name, taken in rates.items():
            kind, workers = name.split("_")
            taken.append(await _rate(kind, int(workers[0])))
            _say(f"round {number}/{ROUNDS} {name}: {taken[-1]:,.0f} jobs/s")
    idle_ms = sorted(await _idle_latencies_ms())
    figures = {name: round(statistics.median(taken)) for name, taken in rates.items()}
    return {
        "ratio_2w": round(figures["ours_2w"] / figures["stock_2w"], 2),
        "scale_4w_over_2w": round(figures["ours_4w"] / figures["ours_2w"], 2),
        "idle_p50_ms": round(statistics.median(idle_ms), 3),
        "idle_p99_ms": round(idle_ms[int(len(idle_ms) * 0.99) - 1], 3),
        **figures,
    }


async def _rate(kind: str, workers: int) -> float:
    jobs = STOCK_JOBS if kind == "stock" else OUR_JOBS
    lane = default_queue_name if kind == "stock" else lane_keys(Lane.STANDARD).ready
    async with _redis() as (server, redis):
        if kind == "stock":
            await _enqueue_stock(redis, jobs)
        else:
            await _ring(redis, jobs)
        await redis.rename(lane, ASIDE_KEY)
        async with _workers(kind, workers, server, redis):
            started = time.perf_counter()
            await redis.rename(ASIDE_KEY, lane)
            await redis.publish(WAKE_CHANNEL, jobs)
            await _until(lambda: _is_empty(redis, lane))
            rate = jobs / (time.perf_counter() - started)
        ran = int(await redis.get(RAN_KEY) or 0)
        if ran != jobs:
            raise RuntimeError(f"{kind} with {workers} workers ran {ran} jobs of {jobs}")
        return rate


async def _idle_latencies_ms() -> list[float]:
    async with _redis() as (server, redis), _workers("tell", 1, server, redis):
        doorbell = RedisDoorbell(redis, clock=SystemClock())
        rung_ns: list[int] = []
        for number in range(IDLE_JOBS + WARM_UP_JOBS):
            rung_ns.append(time.monotonic_ns())
            await doorbell.ring([_bell()])
            await asyncio.sleep(IDLE_GAP_S)  # looking sooner would take the cores from what is measured
            await _until(lambda due=number: _has_started(redis, due + 1))
        started_ns = [int(value) for value in await redis.lrange(STARTED_KEY, 0, -1)]
    waits = [(started - rung) / 1e6 for rung, started in zip(rung_ns, started_ns, strict=True)]
    _say(f"idle: {IDLE_JOBS} jobs one by one, slowest {max(waits[WARM_UP_JOBS:]):.2f} ms")
    return waits[WARM_UP_JOBS:]


async def _enqueue_stock(redis: ArqRedis, jobs: int) -> None:
    """Write what `enqueue_job` of stock arq writes, in few round trips."""
    now_ms = int(time.time() * 1000)
    for _ in range(0, jobs, 500):
        async with redis.pipeline(transaction=False) as pipe:
            for _ in range(500):
                job_id = uuid4().hex
                kwargs = {"v": 1, "command_id": job_id, "account_id": job_id, "urgency": "NORMAL", "rung_ms": now_ms}
                pipe.psetex(job_key_prefix + job_id, 86_400_000, serialize_job(JOB_NAME, (), kwargs, None, now_ms))
                pipe.zadd(default_queue_name, {job_id: now_ms})
            await pipe.execute()


async def _ring(redis: ArqRedis, jobs: int) -> None:
    doorbell = RedisDoorbell(redis, clock=SystemClock())
    if not await doorbell.rering([_bell() for _ in range(jobs)]):
        raise RuntimeError("the bells could not be rung")


def _bell() -> Ring:
    return Ring(
        command_id=uuid4(),
        account_id=uuid4(),
        urgency=Urgency.NORMAL,
        exchange=Exchange.NSE,
        enqueued_at=datetime.now(UTC),
    )


@asynccontextmanager
async def _redis() -> AsyncIterator[tuple[RedisProcess, ArqRedis]]:
    server = RedisProcess()
    redis = build_queue_redis(server.url)
    try:
        yield server, redis
    finally:
        await redis.aclose()
        server.stop()


@asynccontextmanager
async def _workers(kind: str, count: int, server: RedisProcess, redis: ArqRedis) -> AsyncIterator[None]:
    command = [sys.executable, "-m", "tests.bench.queue_worker", kind, server.url]
    processes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(count)]  # noqa: ASYNC220
    try:
        await _until(lambda: _all_warm(redis, count))
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(RUN_TIMEOUT_S)


async def _all_warm(redis: ArqRedis, count: int) -> bool:
    return int(await redis.get(WARM_KEY) or 0) == count


async def _is_empty(redis: ArqRedis, lane: str) -> bool:
    return await redis.zcard(lane) == 0


async def _has_started(redis: ArqRedis, count: int) -> bool:
    return await redis.llen(STARTED_KEY) >= count


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(RUN_TIMEOUT_S):
        while not await condition():  # noqa: ASYNC110  the condition lies in another process
            await asyncio.sleep(POLL_S)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201
