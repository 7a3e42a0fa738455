"""What every role stands on, and the services that several of them use."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from redis.asyncio import Redis

from app.infra.clock import SystemClock
from app.infra.config import Config
from app.infra.crypto import Vault
from app.infra.database import build_engine
from app.infra.events import Channel, EventBell
from app.infra.redis import build_redis
from app.infra.wakeup import WakeUp
from app.repositories.unit_of_work import UnitOfWork
from app.services.leadership import Leadership


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


def leadership(base: Foundation, role: str) -> Leadership:
    """Return this process' candidacy for a role."""
    return Leadership(
        uow=base.uow, clock=base.clock, role=role, holder=process_name(role), ttl_s=base.config.lease_ttl_s
    )


@asynccontextmanager
async def listening(
    base: Foundation, channel: Channel, wake: asyncio.Event, hear: Callable[[bytes], None] | None = None
) -> AsyncIterator[None]:
    """Set an event for each bell on a channel, and hear what it says, while the block runs."""
    wake_up = WakeUp(base.redis, channel.value, wake.set, hear) if hear else WakeUp(base.redis, channel.value, wake.set)
    listener = asyncio.create_task(wake_up.listen())
    try:
        yield
    finally:
        listener.cancel()
        with suppress(asyncio.CancelledError):
            await listener
