"""The scheduler role."""

import asyncio
from contextlib import AsyncExitStack

from app.bootstrap.foundation import foundation, leadership, listening
from app.bootstrap.trading import order_service
from app.engine.scheduler import Scheduler
from app.infra.config import Config
from app.infra.events import Channel
from app.queue.connection import build_queue_redis
from app.queue.producer import RedisDoorbell


async def run(config: Config, stop: asyncio.Event) -> None:
    """Run the strategy scheduler, active or standing by, until the stop."""
    async with foundation(config) as base, AsyncExitStack() as stack:
        queue_redis = build_queue_redis(config.redis_url.get_secret_value())
        stack.push_async_callback(queue_redis.aclose)
        orders, accounts, instruments = order_service(base, RedisDoorbell(queue_redis, clock=base.clock))
        wake = asyncio.Event()
        await stack.enter_async_context(listening(base, Channel.MARKET, wake))
        scheduler = Scheduler(
            uow=base.uow, orders=orders, accounts=accounts, instruments=instruments, bell=base.bell, wake=wake
        )
        await leadership(base, "scheduler").run(stop, scheduler.lead)
