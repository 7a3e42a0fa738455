"""What only real processes prove: many workers at once, kill -9, signals, and arq's own command line."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from arq.connections import ArqRedis

from app.core.orders import Urgency
from app.queue.lanes import HEALTH_KEY
from tests.harness.queue import a_doorbell, a_ring, eventually, running_worker
from tests.integration.queue.worker_process import DONE_KEY, HOLD_KEY, STARTED_KEY, hold_key

WORKER = [sys.executable, "-m", "tests.integration.queue.worker_process"]
ARQ_CHECK = [str(Path(sys.executable).parent / "arq"), "app.queue.worker_settings.WorkerSettings", "--check"]


class WorkerProcesses:
    """Starts worker processes and ends what is left of them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, *, slots: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([*WORKER, self._url, str(slots)])
        self._processes.append(process)
        return process

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.fixture
def workers(redis_url: str) -> Iterator[WorkerProcesses]:
    processes = WorkerProcesses(redis_url)
    yield processes
    processes.end()


async def entries(redis: ArqRedis, key: str) -> Counter[str]:
    return Counter(value.decode() for value in await redis.lrange(key, 0, -1))


async def test_four_workers_of_a_hundred_slots_starve_nothing_and_run_nothing_twice(
    redis: ArqRedis, workers: WorkerProcesses
) -> None:
    await redis.set(HOLD_KEY, 1)
    for _ in range(4):
        workers.start(slots=100)
    bells = [a_ring(urgency) for urgency in Urgency for _ in range(500)]
    assert await a_doorbell(redis).rering(bells)

    async def all_slots_are_busy() -> bool:
        return await redis.llen(STARTED_KEY) == 400

    await eventually(all_slots_are_busy, timeout_s=30)
    await redis.delete(HOLD_KEY)

    async def all_are_done() -> bool:
        return await redis.llen(DONE_KEY) >= len(bells)

    await eventually(all_are_done, timeout_s=30)
    wanted = Counter(str(bell.command_id) for bell in bells)
    assert await entries(redis, STARTED_KEY) == wanted
    assert await entries(redis, DONE_KEY) == wanted

    async def nothing_is_left() -> bool:
        return not await redis.exists("orders:priority", "orders:standard") and not await redis.keys("arq:*")

    await eventually(nothing_is_left)


async def test_the_jobs_of_a_killed_worker_are_run_by_another(redis: ArqRedis, workers: WorkerProcesses) -> None:
    await redis.set(HOLD_KEY, 1)
    victim = workers.start(slots=10)
    bells = [a_ring() for _ in range(5)]
    assert await a_doorbell(redis).rering(bells)

    async def all_started() -> bool:
        return await redis.llen(STARTED_KEY) == 5

    await eventually(all_started, timeout_s=30)
    victim.kill()
    await redis.delete(HOLD_KEY)
    workers.start(slots=10)

    async def all_are_done() -> bool:
        return await redis.llen(DONE_KEY) == 5

    await eventually(all_are_done, timeout_s=30)
    assert await entries(redis, DONE_KEY) == Counter(str(bell.command_id) for bell in bells)


async def test_a_worker_stopped_for_longer_than_its_lease_frees_no_others_lease(
    redis: ArqRedis, workers: WorkerProcesses
) -> None:
    await redis.set(HOLD_KEY, 1)
    sleeper = workers.start(slots=10)
    bell = a_ring()
    assert await a_doorbell(redis).rering([bell])

    async def starts(count: int) -> bool:
        return await redis.llen(STARTED_KEY) == count

    await eventually(lambda: starts(1), timeout_s=30)
    sleeper.send_signal(signal.SIGSTOP)
    owner = workers.start(slots=10)
    await eventually(lambda: starts(2), timeout_s=30)
    lease = f"arq:in-progress:{bell.command_id}"
    token = await redis.get(lease)
    await redis.set(hold_key(owner.pid), 1)
    await redis.delete(HOLD_KEY)
    sleeper.send_signal(signal.SIGCONT)

    async def the_sleeper_is_done() -> bool:
        return await redis.llen(DONE_KEY) == 1

    await eventually(the_sleeper_is_done, timeout_s=30)
    sleeper.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(sleeper.wait, 30) == 0
    assert await redis.get(lease) == token
    assert await redis.zscore("orders:standard", str(bell.command_id)) is not None


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_either_signal_drains_once_and_ends_in_order(
    redis: ArqRedis, workers: WorkerProcesses, signum: signal.Signals
) -> None:
    await redis.set(HOLD_KEY, 1)
    process = workers.start(slots=3)
    assert await a_doorbell(redis).rering([a_ring() for _ in range(6)])

    async def slots_are_busy() -> bool:
        return await redis.llen(STARTED_KEY) == 2

    await eventually(slots_are_busy, timeout_s=30)
    process.send_signal(signum)
    await redis.delete(HOLD_KEY)
    assert await asyncio.to_thread(process.wait, 30) == 0
    assert sum((await entries(redis, DONE_KEY)).values()) == 2
    assert await redis.zcard("orders:standard") == 4


async def test_arqs_own_check_tells_whether_a_worker_lives(redis: ArqRedis, redis_url: str) -> None:
    environment = {"PATH": os.environ["PATH"], "SAUDA_REDIS_URL": redis_url}

    async def check() -> int:
        return (await asyncio.to_thread(subprocess.run, ARQ_CHECK, env=environment, capture_output=True)).returncode

    async def job(_ctx: dict[str, object], **_: object) -> None:
        """Never called here."""

    assert await check() == 1
    async with running_worker(redis_url, job):
        async with running_worker(redis_url, job):

            async def reported() -> bool:
                return bool(await redis.exists(HEALTH_KEY))

            await eventually(reported)
            assert await check() == 0
        assert await redis.exists(HEALTH_KEY), "a closing worker leaves the key to the others"
        assert await check() == 0


def test_arqs_stock_worker_cannot_be_started_on_the_order_lanes(redis_url: str) -> None:
    environment = {"PATH": os.environ["PATH"], "SAUDA_REDIS_URL": redis_url}
    ended = subprocess.run(ARQ_CHECK[:2], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "at least one function" in ended.stderr
