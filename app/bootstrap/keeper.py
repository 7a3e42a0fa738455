"""The keeper role."""

import asyncio
from contextlib import AsyncExitStack

from app.bootstrap.foundation import foundation, leadership, listening
from app.bootstrap.paper import paper_accounts, paper_market
from app.bootstrap.trading import broker_pool
from app.brokers.registry import broker_records
from app.core.accounts import Account
from app.infra.config import Config
from app.infra.events import Channel
from app.infra.fee_schedules import load_fee_schedules
from app.keeper.account_reconciler import AccountReconciler
from app.keeper.account_watches import AccountWatches
from app.keeper.day_end import DayEnd
from app.keeper.dead_claims import DeadClaims
from app.keeper.deadlines import Deadlines
from app.keeper.hints import Hints
from app.keeper.keeper import Duty, Keeper
from app.keeper.order_changes import OrderChanges
from app.keeper.reconciler import Reconciler
from app.keeper.refused_entries import RefusedEntries
from app.keeper.settler import horizon_s
from app.keeper.sweep import Sweep
from app.keeper.unknown_alerts import UnknownAlerts
from app.keeper.waiting_exits import WaitingExits
from app.market_data.last_prices import LastPrices
from app.queue.connection import build_queue_redis
from app.queue.producer import RedisDoorbell
from app.repositories.leases import Lease
from app.services.balances import Balances
from app.services.fill_recorder import FillRecorder
from app.services.order_updates import OrderUpdates
from app.services.paper_accounts import PAPER_BROKER
from app.services.reconciliation import Reconciliation
from app.services.settlement import Settlement

OVERDUE_MARGIN_S = 30.0
"""An order that is UNKNOWN for longer than settling can take by this much is not going to settle by itself."""


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

        hints = Hints()
        await stack.enter_async_context(listening(base, Channel.HINTS, asyncio.Event(), hints.hear))

        def watches(lease: Lease) -> AccountWatches:
            return AccountWatches(
                uow=base.uow,
                brokers=pool,
                sessions=sessions,
                paper_accounts=paper_accounts(base, market),
                updates=OrderUpdates(uow=base.uow),
                recorder=recorder,
                settlement=Settlement(uow=base.uow, doorbell=doorbell),
                lease=lease,
                clock=base.clock,
                bell=base.bell,
                hints=hints,
            )

        def reconciler(lease: Lease) -> Reconciler:
            def account_reconciler(account: Account) -> AccountReconciler:
                compared = Reconciliation(account, uow=base.uow, brokers=pool, clock=base.clock, lease=lease)
                return AccountReconciler(account, compared, uow=base.uow, lease=lease, clock=base.clock)

            return Reconciler(uow=base.uow, account_reconciler=account_reconciler)

        def dead_claims(lease: Lease) -> DeadClaims:
            return DeadClaims(uow=base.uow, lease=lease, margin_s=config.claim_margin_s, bell=base.bell)

        overdue_s = OVERDUE_MARGIN_S + max(horizon_s(record.timeouts) for record in broker_records().values())
        uow, bell, balances = base.uow, base.bell, Balances(uow=base.uow, prices=LastPrices(base.redis))
        duties = (
            Duty(name="sweep", every_s=1.0, made_for=lambda lease: Sweep(uow=uow, doorbell=doorbell, lease=lease)),
            Duty(name="dead_claims", every_s=0.5, made_for=dead_claims),
            Duty(
                name="order_changes",
                every_s=0.5,
                made_for=lambda lease: OrderChanges(uow=uow, doorbell=doorbell, lease=lease),
            ),
            Duty(name="deadlines", every_s=1.0, made_for=lambda lease: Deadlines(uow=uow, lease=lease, bell=bell)),
            Duty(name="waiting_exits", every_s=1.0, made_for=lambda lease: WaitingExits(uow=uow, lease=lease)),
            Duty(name="refused_entries", every_s=2.0, made_for=lambda lease: RefusedEntries(uow=uow, lease=lease)),
            Duty(
                name="unknown_alerts",
                every_s=1.0,
                made_for=lambda lease: UnknownAlerts(uow=uow, lease=lease, overdue_s=overdue_s),
            ),
            # How soon a new account is logged in, or a dead session replaced.
            Duty(name="accounts", every_s=0.2, made_for=watches),
            Duty(name="reconciler", every_s=1.0, made_for=reconciler),
            Duty(name="day_end", every_s=5.0, made_for=lambda lease: DayEnd(uow=uow, balances=balances, lease=lease)),
        )
        keeper = Keeper(duties)
        await leadership(base, "keeper").run(stop, keeper.lead)
