"""What tests of the queue share: bells, workers that run inside the test, and waiting for a condition."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID, uuid4

from arq.connections import ArqRedis
from arq.worker import func

from app.core.instruments import Exchange
from app.core.orders import Urgency
from app.core.ports import Ring
from app.infra.clock import SystemClock
from app.infra.redis import RedisLimits
from app.queue.connection import build_queue_redis
from app.queue.jobs import PutOff
from app.queue.producer import JOB_NAME, RedisDoorbell
from app.queue.worker import OrderWorker

Job = Callable[..., Awaitable[PutOff | None]]

QUICK_LIMITS = RedisLimits(connect_timeout_s=0.3, socket_timeout_s=0.3, pool_timeout_s=0.3)
"""So that a test of a frozen Redis does not take the patience of production."""


def a_ring(
    urgency: Urgency = Urgency.NORMAL, *, command_id: UUID | None = None, enqueued_at: datetime | None = None
) -> Ring:
    return Ring(
        command_id=command_id or uuid4(),
        account_id=uuid4(),
        urgency=urgency,
        exchange=Exchange.NSE,
        enqueued_at=enqueued_at or datetime.now(UTC),
    )


def a_doorbell(redis: ArqRedis) -> RedisDoorbell:
    return RedisDoorbell(redis, clock=SystemClock())


@asynccontextmanager
async def queue_client(url: str) -> AsyncIterator[ArqRedis]:
    client = build_queue_redis(url, QUICK_LIMITS)
    try:
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def running_worker(
    url: str, job: Job, *, slots: int = 10, priority_slots: int = 2, lease_s: float = 5.0, drain_s: float = 0.0
) -> AsyncIterator[OrderWorker]:
    """Run a worker inside the test; afterwards it drains for `drain_s` and is closed."""
    worker = OrderWorker(
        [func(job, name=JOB_NAME)],
        redis_pool=build_queue_redis(url, QUICK_LIMITS),
        slots=slots,
        priority_slots=priority_slots,
        lease_s=lease_s,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run_until(stop, drain_s=drain_s))
    try:
        yield worker
    finally:
        stop.set()
        await running
        await worker.close()


async def eventually(condition: Callable[[], bool | Awaitable[bool]], *, timeout_s: float = 10.0) -> None:
    """Wait until the condition holds; `TimeoutError` when it never does."""
    async with asyncio.timeout(timeout_s):
        while True:
            answer = condition()
            if await answer if isinstance(answer, Awaitable) else answer:
                return
            await asyncio.sleep(0.005)
