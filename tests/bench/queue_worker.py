"""One worker process of the queue benchmark: arq as shipped, or the worker that orders use."""

import asyncio
import sys
import time
from itertools import count

import uvloop
from arq.connections import RedisSettings
from arq.worker import Worker, func

from app.infra.lifecycle import run_until_stopped
from app.infra.logging import configure_logging
from app.queue.connection import build_queue_redis
from app.queue.producer import JOB_NAME
from app.queue.worker import OrderWorker

JOBS_AT_ONCE = 100
POLL_S = 0.01
STARTED_KEY = "bench:started"
WARM_KEY = "bench:warm"
RAN_KEY = "bench:ran"

_ran = count()


async def execute_command(_ctx: dict[str, object], **_kwargs: object) -> None:
    """Do nothing but count that it was done."""
    next(_ran)


async def execute_and_tell(ctx: dict[str, object], **_kwargs: object) -> None:
    """Tell when the job started, by the clock that all processes of a machine share."""
    started_ns = time.monotonic_ns()
    await ctx["redis"].rpush(STARTED_KEY, started_ns)


async def _say_ran(ctx: dict[str, object]) -> None:
    await ctx["redis"].incrby(RAN_KEY, next(_ran))


async def _say_warm(ctx: dict[str, object]) -> None:
    await ctx["redis"].incr(WARM_KEY)


def run_stock(url: str) -> None:
    """Run arq's own worker."""
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.set_event_loop(uvloop.new_event_loop())
    Worker(
        [func(execute_command, name=JOB_NAME)],
        redis_settings=RedisSettings.from_dsn(url),
        on_startup=_say_warm,
        on_shutdown=_say_ran,
        max_jobs=JOBS_AT_ONCE,
        poll_delay=POLL_S,
        keep_result=0,
    ).run()


def run_ours(url: str, *, tell: bool) -> None:
    """Run the worker of the order lanes, nothing switched off."""
    configure_logging(role="worker", level="INFO", log_format="json")

    async def _run(stop: asyncio.Event) -> None:
        worker = OrderWorker(
            [func(execute_and_tell if tell else execute_command, name=JOB_NAME)],
            redis_pool=build_queue_redis(url),
            on_startup=_say_warm,
            on_shutdown=_say_ran,
            slots=JOBS_AT_ONCE,
            priority_slots=1,
        )
        await worker.run_until(stop, drain_s=1.0)
        await worker.close()

    run_until_stopped(_run)


if __name__ == "__main__":
    kind, redis_url = sys.argv[1:]
    if kind == "stock":
        run_stock(redis_url)
    else:
        run_ours(redis_url, tell=kind == "tell")
