"""The keeper role."""

import asyncio
from contextlib import AsyncExitStack

from app.bootstrap.foundation import foundation, leadership
from app.bootstrap.paper import paper_accounts, paper_market
from app.bootstrap.trading import broker_pool
from app.infra.config import Config
from app.infra.fee_schedules import load_fee_schedules
from app.keeper.account_watches import AccountWatches
from app.keeper.dead_claims import DeadClaims
from app.keeper.keeper import Keeper
from app.keeper.order_changes import OrderChanges
from app.keeper.sweep import Sweep
from app.queue.connection import build_queue_redis
from app.queue.producer import RedisDoorbell
from app.repositories.leases import Lease
from app.services.fill_recorder import FillRecorder
from app.services.order_updates import OrderUpdates
from app.services.paper_accounts import PAPER_BROKER


async def run(config: Config, stop: asyncio.Event) -> None:
    """Run the keeper, active or standing by, until the stop."""
    async with foundation(config) as base, AsyncExitStack() as stack:
        pool, sessions = broker_pool(base)
        stack.push_async_callback(pool.close)
        market = paper_market(config)
        stack.push_async_callback(market.close)
        queue_redis = build_queue_redis(config.redis_url.get_secret_value())
        stack.push_async_callback(queue_redis.aclose)
        doorbell = RedisDoorbell(queue_redis, clock=base.clock)
        recorder = FillRecorder(uow=base.uow, fee_schedules=load_fee_schedules(PAPER_BROKER))

        def watches(lease: Lease) -> AccountWatches:
            return AccountWatches(
                uow=base.uow,
                brokers=pool,
                sessions=sessions,
                paper_accounts=paper_accounts(base, market),
                updates=OrderUpdates(uow=base.uow),
                recorder=recorder,
                lease=lease,
                clock=base.clock,
                bell=base.bell,
            )

        keeper = Keeper(
            sweep=lambda lease: Sweep(uow=base.uow, doorbell=doorbell, lease=lease),
            dead_claims=lambda lease: DeadClaims(
                uow=base.uow, lease=lease, margin_s=config.claim_margin_s, bell=base.bell
            ),
            order_changes=lambda lease: OrderChanges(uow=base.uow, doorbell=doorbell, lease=lease),
            watches=watches,
        )
        await leadership(base, "keeper").run(stop, keeper.lead)
