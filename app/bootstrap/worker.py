"""The worker role."""

import asyncio
from contextlib import AsyncExitStack

from app.bootstrap.foundation import foundation, process_name
from app.bootstrap.trading import broker_pool, write_governor
from app.infra.config import Config
from app.queue.connection import build_queue_redis
from app.queue.producer import RedisDoorbell
from app.queue.tasks import execute_command_job
from app.queue.worker import OrderWorker
from app.services.dead_letters import DeadLetters
from app.services.order_executor import OrderExecutor
from app.services.poison import PoisonGuard


async def run(config: Config, stop: asyncio.Event) -> None:
    """Run a worker of the order lanes until the stop, and drain it."""
    async with foundation(config) as base, AsyncExitStack() as stack:
        pool, _ = broker_pool(base)
        stack.push_async_callback(pool.close)
        queue_redis = build_queue_redis(config.redis_url.get_secret_value())
        stack.push_async_callback(queue_redis.aclose)
        name, doorbell = process_name("worker"), RedisDoorbell(queue_redis, clock=base.clock)
        executor = OrderExecutor(
            uow=base.uow,
            brokers=pool,
            clock=base.clock,
            worker=name,
            send_window_s=config.send_window_s,
            record_for_s=config.drain_s,
            bell=base.bell,
            doorbell=doorbell,
        )
        letters = DeadLetters(uow=base.uow, doorbell=doorbell)
        worker = OrderWorker(
            [execute_command_job(PoisonGuard(executor, uow=base.uow, letters=letters, worker=name))],
            redis_pool=build_queue_redis(config.redis_url.get_secret_value()),
            slots=config.worker_slots,
            priority_slots=config.worker_priority_slots,
        )
        stack.push_async_callback(worker.close)
        await write_governor(base).begin()
        await worker.run_until(stop, drain_s=config.drain_s)
