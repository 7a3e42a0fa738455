"""The API role."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from app.api.application import build_application
from app.api.dependencies import ApiServices
from app.bootstrap.foundation import foundation
from app.bootstrap.trading import order_service
from app.infra.config import Config
from app.infra.crypto import Passwords
from app.infra.http_server import AsgiApplication, serve_until
from app.infra.metrics import metrics_folder
from app.market_data.last_prices import LastPrices
from app.monitoring.scrape import Scrape
from app.queue.connection import build_queue_redis
from app.queue.producer import RedisDoorbell
from app.queue.queue_manager import QueueManager
from app.services.balances import Balances
from app.services.dead_letters import DeadLetters
from app.services.order_changes import OrderChangeService
from app.services.postbacks import Postbacks
from app.services.reconciliation_reports import ReconciliationReports
from app.services.resolutions import Resolutions
from app.services.tokens import TokenService


async def run(config: Config, stop: asyncio.Event) -> None:
    """Serve the REST API until the stop."""
    async with api_application(config) as application:
        await serve_until(stop, application, host=config.api_host, port=config.api_port)


@asynccontextmanager
async def api_application(config: Config) -> AsyncIterator[AsgiApplication]:
    """Open the API's application over its services."""
    async with foundation(config) as base, AsyncExitStack() as stack:
        queue_redis = build_queue_redis(config.redis_url.get_secret_value())
        stack.push_async_callback(queue_redis.aclose)
        doorbell = RedisDoorbell(queue_redis, clock=base.clock)
        orders, accounts, instruments = order_service(base, doorbell)
        tokens = TokenService(
            uow=base.uow,
            passwords=Passwords(),
            secret=config.secret_key.get_secret_value(),
            ttl_minutes=config.token_ttl_minutes,
            clock=base.clock,
        )
        yield build_application(
            ApiServices(
                uow=base.uow,
                orders=orders,
                order_changes=OrderChangeService(
                    uow=base.uow, instruments=instruments, accounts=accounts, doorbell=doorbell, clock=base.clock
                ),
                resolutions=Resolutions(uow=base.uow, doorbell=doorbell),
                tokens=tokens,
                accounts=accounts,
                instruments=instruments,
                queues=QueueManager(base.redis),
                balances=Balances(uow=base.uow, prices=LastPrices(base.redis)),
                dead_letters=DeadLetters(uow=base.uow, doorbell=doorbell),
                postbacks=Postbacks(accounts=accounts, bell=base.bell),
                reconciliations=ReconciliationReports(uow=base.uow),
                scrape=Scrape(uow=base.uow, queues=QueueManager(base.redis), folder=metrics_folder(config.data_dir)),
            )
        )
