"""One real worker process: `python -m tests.integration.queue.worker_process URL SLOTS`."""

import asyncio
import os
import sys

from arq.worker import func

from app.infra.lifecycle import run_until_stopped
from app.infra.logging import configure_logging
from app.infra.redis import RedisLimits, build_redis
from app.queue.connection import build_queue_redis
from app.queue.producer import JOB_NAME
from app.queue.worker import OrderWorker

HOLD_KEY = "test:hold"
STARTED_KEY = "test:started"
DONE_KEY = "test:done"


def hold_key(pid: int) -> str:
    """While this exists, the jobs of that process wait."""
    return f"{HOLD_KEY}:{pid}"


async def execute_command(ctx: dict[str, object], **_: object) -> None:
    """Note the start, wait while the test holds all jobs, note the end."""
    redis = ctx["test_redis"]
    await redis.rpush(STARTED_KEY, ctx["job_id"])
    while await redis.exists(HOLD_KEY, hold_key(os.getpid())):  # noqa: ASYNC110  the test holds it from its own process
        await asyncio.sleep(0.1)
    await redis.rpush(DONE_KEY, ctx["job_id"])


async def serve(stop: asyncio.Event) -> None:
    url, slots = sys.argv[1:]
    redis = build_redis(url, RedisLimits(max_connections=int(slots), socket_timeout_s=10))
    worker = OrderWorker(
        [func(execute_command, name=JOB_NAME)],
        redis_pool=build_queue_redis(url),
        slots=int(slots),
        priority_slots=1,
        lease_s=1.0,
        ctx={"test_redis": redis},
    )
    await worker.run_until(stop, drain_s=5.0)
    await worker.close()
    await redis.aclose()


if __name__ == "__main__":
    configure_logging(role="worker", level="WARNING", log_format="json")
    run_until_stopped(serve)
