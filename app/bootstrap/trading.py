"""Parts of the order path that more than one role uses."""

from uuid import UUID

from app.bootstrap.foundation import Foundation
from app.brokers.governor import RedisGovernor
from app.queue.producer import RedisDoorbell
from app.repositories.sent_writes import SentWrite
from app.services.account_directory import AccountDirectory
from app.services.broker_pool import BrokerPool
from app.services.broker_sessions import BrokerSessions
from app.services.instrument_manager import InstrumentManager
from app.services.orders import OrderService


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
        governor=write_governor(base),
        clock=base.clock,
        paper_url=base.config.exchange_url,
    )
    return pool, sessions


def write_governor(base: Foundation) -> RedisGovernor:
    """Return the shared budget of broker writes, which counts anew from the database after a wipe of Redis."""

    async def sent_writes(account_id: UUID, within_s: float) -> list[SentWrite]:
        async with base.uow.statement() as tx:
            return await tx.sent_writes.within(account_id, within_s)

    return RedisGovernor(base.redis, sent_writes=sent_writes)
