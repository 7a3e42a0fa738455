"""The composition root: settings in, wired services out. The only place that names concrete classes."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from redis.asyncio import Redis

from app.api.application import build_application
from app.api.dependencies import ApiServices
from app.engine.feed import Feed
from app.engine.replay import Conductor
from app.engine.scheduler import Scheduler
from app.exchange.instruments import read_instruments
from app.exchange.settings import ExchangeSettings
from app.infra.clock import SystemClock
from app.infra.config import Config
from app.infra.crypto import Passwords, Vault
from app.infra.database import build_engine
from app.infra.events import Channel, EventBell
from app.infra.fee_schedules import load_fee_schedules
from app.infra.http_server import AsgiApplication
from app.infra.rate import RedisRatePermits
from app.infra.redis import build_redis
from app.infra.wakeup import WakeUp
from app.keeper.account_watches import AccountWatches
from app.keeper.dead_claims import DeadClaims
from app.keeper.keeper import Keeper
from app.keeper.sweep import Sweep
from app.market_data.last_prices import LastPrices
from app.market_data.paper_market import PaperMarket
from app.market_data.sample import SAMPLE_DIR
from app.queue.connection import build_queue_redis
from app.queue.producer import RedisDoorbell
from app.queue.queue_manager import QueueManager
from app.queue.tasks import execute_command_job
from app.queue.worker import OrderWorker
from app.repositories.leases import Lease
from app.repositories.unit_of_work import UnitOfWork
from app.services.account_directory import AccountDirectory
from app.services.broker_pool import BrokerPool
from app.services.broker_sessions import BrokerSessions
from app.services.fill_recorder import FillRecorder
from app.services.instrument_manager import InstrumentManager
from app.services.leadership import Leadership
from app.services.order_executor import OrderExecutor
from app.services.order_updates import OrderUpdates
from app.services.orders import OrderService
from app.services.paper_accounts import PAPER_BROKER, PaperAccounts
from app.services.replays import ReplayService
from app.services.tokens import TokenService


def process_name(role: str) -> str:
    """Return a name for this process that no other has had: it stands in claims and leases."""
    return f"{role}@{socket.gethostname()}:{os.getpid()}:{os.urandom(3).hex()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """What every role stands on."""

    config: Config
    clock: SystemClock
    uow: UnitOfWork
    redis: Redis
    bell: EventBell
    vault: Vault


@asynccontextmanager
async def foundation(config: Config) -> AsyncIterator[Foundation]:
    """Open what every role needs, and close it at the end. Nothing connects before it is used."""
    uow = UnitOfWork(build_engine(config.database_url.get_secret_value(), pool_size=config.db_pool_size))
    redis = build_redis(config.redis_url.get_secret_value())
    try:
        yield Foundation(
            config=config,
            clock=SystemClock(),
            uow=uow,
            redis=redis,
            bell=EventBell(redis),
            vault=Vault(config.secret_key.get_secret_value()),
        )
    finally:
        await redis.aclose()
        await uow.close()


def paper_market(config: Config) -> PaperMarket:
    """Return the control client of the paper exchange."""
    return PaperMarket(config.exchange_url, config.exchange_control_key.get_secret_value())


def paper_accounts(base: Foundation, market: PaperMarket) -> PaperAccounts:
    """Return the service that makes paper accounts."""
    return PaperAccounts(uow=base.uow, vault=base.vault, market=market)


def replay_service(base: Foundation, market: PaperMarket) -> ReplayService:
    """Return the service that requests replays."""
    return ReplayService(uow=base.uow, accounts=paper_accounts(base, market), market=market, bell=base.bell)


def order_service(
    base: Foundation, doorbell: RedisDoorbell
) -> tuple[OrderService, AccountDirectory, InstrumentManager]:
    """Return the service that takes orders, with the directories that it reads."""
    accounts, instruments = AccountDirectory(base.uow), InstrumentManager(base.uow)
    orders = OrderService(uow=base.uow, instruments=instruments, accounts=accounts, doorbell=doorbell, clock=base.clock)
    return orders, accounts, instruments


def broker_pool(base: Foundation) -> tuple[BrokerPool, BrokerSessions]:
    """Return the brokers of this process, and the sessions that they share with all others."""
    sessions = BrokerSessions(uow=base.uow, vault=base.vault, clock=base.clock)
    pool = BrokerPool(
        uow=base.uow,
        vault=base.vault,
        tokens=sessions,
        permits=RedisRatePermits(base.redis),
        clock=base.clock,
        paper_url=base.config.exchange_url,
    )
    return pool, sessions


@asynccontextmanager
async def api_application(config: Config) -> AsyncIterator[AsgiApplication]:
    """Open the API's application over its services."""
    async with foundation(config) as base, AsyncExitStack() as stack:
        queue_redis = build_queue_redis(config.redis_url.get_secret_value())
        stack.push_async_callback(queue_redis.aclose)
        orders, accounts, instruments = order_service(base, RedisDoorbell(queue_redis, clock=base.clock))
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
                tokens=tokens,
                accounts=accounts,
                instruments=instruments,
                queues=QueueManager(base.redis),
            )
        )


async def run_worker(config: Config, stop: asyncio.Event) -> None:
    """Run a worker of the order lanes until the stop, and drain it."""
    async with foundation(config) as base, AsyncExitStack() as stack:
        pool, _ = broker_pool(base)
        stack.push_async_callback(pool.close)
        executor = OrderExecutor(
            uow=base.uow,
            brokers=pool,
            clock=base.clock,
            worker=process_name("worker"),
            send_window_s=config.send_window_s,
            record_for_s=config.drain_s,
            bell=base.bell,
        )
        worker = OrderWorker(
            [execute_command_job(executor)],
            redis_pool=build_queue_redis(config.redis_url.get_secret_value()),
            slots=config.worker_slots,
            priority_slots=config.worker_priority_slots,
        )
        stack.push_async_callback(worker.close)
        await worker.run_until(stop, drain_s=config.drain_s)


async def run_keeper(config: Config, stop: asyncio.Event) -> None:
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
            watches=watches,
        )
        await leadership(base, "keeper").run(stop, keeper.lead)


async def run_scheduler(config: Config, stop: asyncio.Event) -> None:
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


async def run_feed(config: Config, stop: asyncio.Event) -> None:
    """Run the market data feed, active or standing by, until the stop."""
    async with foundation(config) as base, AsyncExitStack() as stack:
        market = paper_market(config)
        stack.push_async_callback(market.close)
        progress, requested = asyncio.Event(), asyncio.Event()
        await stack.enter_async_context(listening(base, Channel.PROGRESS, progress))
        await stack.enter_async_context(listening(base, Channel.REPLAYS, requested))
        conductor = Conductor(
            uow=base.uow,
            market=market,
            prices=LastPrices(base.redis),
            bell=base.bell,
            progress=progress,
            clock=base.clock,
        )
        feed = Feed(uow=base.uow, market=market, conductor=conductor, clock=base.clock, requested=requested)
        await leadership(base, "feed").run(stop, feed.lead)


def exchange_settings(config: Config) -> ExchangeSettings:
    """Return what the paper exchange needs; it shares neither our PostgreSQL nor our Redis."""
    folder = config.data_dir / "exchange"
    folder.mkdir(parents=True, exist_ok=True)
    return ExchangeSettings(
        host=config.exchange_host,
        port=config.exchange_port,
        control_key=config.exchange_control_key.get_secret_value(),
        ledger_path=folder / "ledger.sqlite3",
        instruments=read_instruments(SAMPLE_DIR / "instruments.csv"),
        fee_schedules=load_fee_schedules(PAPER_BROKER),
    )


def leadership(base: Foundation, role: str) -> Leadership:
    """Return this process' candidacy for a role."""
    return Leadership(
        uow=base.uow, clock=base.clock, role=role, holder=process_name(role), ttl_s=base.config.lease_ttl_s
    )


@asynccontextmanager
async def listening(base: Foundation, channel: Channel, wake: asyncio.Event) -> AsyncIterator[None]:
    """Set an event for each bell on a channel, while the block runs."""
    listener = asyncio.create_task(WakeUp(base.redis, channel.value, wake.set).listen())
    try:
        yield
    finally:
        listener.cancel()
        with suppress(asyncio.CancelledError):
            await listener
