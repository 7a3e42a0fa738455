"""One unit of work is one transaction. This file holds the only commit, and rolling back is the default."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.infra.failpoints import Point, reach
from app.infra.transactions import transaction_marked_open
from app.repositories.account_blocks import AccountBlockRepository
from app.repositories.account_states import AccountStateRepository
from app.repositories.accounts import AccountRepository
from app.repositories.alerts import AlertRepository
from app.repositories.audit import AuditRepository
from app.repositories.balances import BalanceRepository
from app.repositories.commands import CommandRepository
from app.repositories.dead_letters import DeadLetterRepository
from app.repositories.exits import ExitRepository
from app.repositories.fills import FillRepository
from app.repositories.gauges import GaugeRepository
from app.repositories.idempotency import IdempotencyRepository
from app.repositories.instruments import InstrumentRepository
from app.repositories.leases import Lease, LeaseRepository
from app.repositories.market import MarketRepository
from app.repositories.order_changes import OrderChangeRepository
from app.repositories.order_endings import OrderEndingRepository
from app.repositories.orders import OrderRepository
from app.repositories.positions import PositionRepository
from app.repositories.reconciliations import ReconciliationRepository
from app.repositories.replays import ReplayRepository
from app.repositories.resolutions import ResolutionRepository
from app.repositories.sent_writes import SentWriteRepository
from app.repositories.sessions import SessionRepository
from app.repositories.settlements import SettlementRepository
from app.repositories.strategies import StrategyRepository
from app.repositories.users import UserRepository


class Transaction:
    """The repositories over one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.account_states = AccountStateRepository(connection)
        self.accounts = AccountRepository(connection)
        self.alerts = AlertRepository(connection)
        self.audit = AuditRepository(connection)
        self.balances = BalanceRepository(connection)
        self.blocks = AccountBlockRepository(connection)
        self.changes = OrderChangeRepository(connection)
        self.commands = CommandRepository(connection)
        self.dead_letters = DeadLetterRepository(connection)
        self.exits = ExitRepository(connection)
        self.fills = FillRepository(connection)
        self.gauges = GaugeRepository(connection)
        self.idempotency = IdempotencyRepository(connection)
        self.instruments = InstrumentRepository(connection)
        self.leases = LeaseRepository(connection)
        self.market = MarketRepository(connection)
        self.order_endings = OrderEndingRepository(connection)
        self.orders = OrderRepository(connection)
        self.positions = PositionRepository(connection)
        self.reconciliations = ReconciliationRepository(connection)
        self.replays = ReplayRepository(connection)
        self.resolutions = ResolutionRepository(connection)
        self.sent_writes = SentWriteRepository(connection)
        self.sessions = SessionRepository(connection)
        self.settlements = SettlementRepository(connection)
        self.strategies = StrategyRepository(connection)
        self.users = UserRepository(connection)


class UnitOfWork:
    """Opens transactions on one engine."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Open a transaction; it commits where the block ends well, and rolls back otherwise."""
        with transaction_marked_open():
            async with self._engine.connect() as connection:
                yield Transaction(connection)
                reach(Point.UOW_BEFORE_COMMIT)
                await connection.commit()
                reach(Point.UOW_AFTER_COMMIT)

    @asynccontextmanager
    async def fenced(self, lease: Lease) -> AsyncIterator[Transaction]:
        """Open a transaction of a leader; raises `LeaseLost` unless the lease holds, and keeps it until the end."""
        async with self.transaction() as tx:
            await tx.leases.assert_held(lease)
            yield tx

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[Transaction]:
        """Open a connection on which each statement is its own transaction: one round trip instead of three."""
        async with self._autocommit.connect() as connection:
            yield Transaction(connection)

    async def ping(self) -> None:
        """Ask the database for a sign of life; raises what the driver raises."""
        async with self._autocommit.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close the pool."""
        await self._engine.dispose()
