"""Rows for tests: an account with its market, an instrument, and orders on them, saved through the repositories."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.accounts import Account, AccountMode, AccountStatus
from app.core.instruments import BrokerSymbol, Exchange, Instrument, InstrumentKind
from app.core.orders import Order, OrderIntent, OrderType, Product, Side, Urgency, Validity
from app.core.tags import order_tag
from app.infra.ids import new_id
from app.repositories.accounts import StoredAccount
from app.repositories.commands import Claim
from app.repositories.idempotency import StoredAnswer
from app.repositories.market import MarketStep
from app.repositories.order_rows import NewOrder
from app.repositories.unit_of_work import UnitOfWork

DAY = date(2019, 1, 1)
NOON = datetime(2019, 1, 1, 6, 30, tzinfo=UTC)
"""Noon in India, the market time of every new world."""
WINDOW_S = 5.0


def new_account(name: str = "paper", *, source: str = "market") -> Account:
    """Return an account that is not stored yet."""
    return Account(
        id=new_id(),
        name=name,
        broker="angelone",
        mode=AccountMode.PAPER,
        status=AccountStatus.ACTIVE,
        client_code=name.upper(),
        market_source=source,
        orders_per_second=9,
    )


def new_instrument(symbol: str = "YESBANK") -> Instrument:
    """Return a share that is not stored yet."""
    return Instrument(
        id=new_id(),
        exchange=Exchange.NSE,
        symbol=symbol,
        name=symbol.title(),
        kind=InstrumentKind.EQUITY,
        tick_size=Decimal("0.05"),
        lot_size=1,
    )


@dataclass(frozen=True, slots=True)
class World:
    """A migrated database with one active account, one share and a running market clock."""

    engine: AsyncEngine
    uow: UnitOfWork
    account: Account
    instrument: Instrument

    @classmethod
    async def build(cls, engine: AsyncEngine) -> "World":
        """Store what every order needs."""
        world = cls(engine, UnitOfWork(engine), new_account(), new_instrument())
        async with world.uow.transaction() as tx:
            await tx.accounts.add(StoredAccount(account=world.account, credentials=b"sealed", base_url=None))
            await tx.instruments.upsert(world.instrument)
            await tx.instruments.upsert_symbol(
                BrokerSymbol(
                    broker="angelone", instrument_id=world.instrument.id, trading_symbol="YESBANK-EQ", token="11915"
                )
            )
        await world.set_market_time(NOON, step=1)
        return world

    async def set_market_time(self, moment: datetime, *, step: int) -> None:
        """Move the account's market clock on."""
        async with self.uow.transaction() as tx:
            await tx.market.set_clock(MarketStep(self.account.market_source, step, moment, moment.date(), []), "[]")

    def new_order(
        self,
        client_order_id: str = "one",
        *,
        key: str | None = None,
        quantity: int = 100,
        urgency: Urgency = Urgency.NORMAL,
        deadline: datetime | None = None,
        strategy_id: UUID | None = None,
        account_id: UUID | None = None,
        side: Side = Side.BUY,
        price: Decimal | None = None,
    ) -> NewOrder:
        """Return an order that is ready to be saved; it is known by its client order id and key."""
        intent = OrderIntent(
            account_id=account_id or self.account.id,
            client_order_id=client_order_id,
            instrument_id=self.instrument.id,
            side=side,
            quantity=quantity,
            order_type=OrderType.MARKET if price is None else OrderType.LIMIT,
            product=Product.MIS,
            validity=Validity.DAY,
            urgency=urgency,
            price=price,
            deadline=deadline,
            strategy_id=strategy_id,
        )
        return NewOrder(
            id=new_id(),
            command_id=new_id(),
            intent=intent,
            tag=order_tag(client_order_id),
            trading_day=DAY,
            market_time=NOON,
            received_at=datetime.now(UTC),
            answer=StoredAnswer(
                caller="tester",
                key=key or f"key-{client_order_id}",
                body_hash=b"hash",
                response=json.dumps({"order": client_order_id}),
            ),
        )

    async def save(self, new: NewOrder) -> NewOrder:
        """Save an order that must be new."""
        async with self.uow.statement() as tx:
            assert await tx.orders.save(new)
        return new

    async def claim(self, new: NewOrder, *, window_s: float = WINDOW_S, worker: str = "w1") -> Claim:
        """Claim the order's command, which must succeed."""
        async with self.uow.statement() as tx:
            claim = await tx.commands.claim(new.command_id, worker=worker, window_s=window_s, rung_at=None)
        assert claim is not None
        return claim

    async def order(self, new: NewOrder) -> Order:
        """Return the order as it is stored now."""
        async with self.uow.statement() as tx:
            order = await tx.orders.get(new.id)
        assert order is not None
        return order

    async def events(self, new: NewOrder) -> list[str]:
        """Return the names of the order's events, oldest first."""
        async with self.uow.statement() as tx:
            return [event.event for event in await tx.orders.timeline(new.id)]

    async def command_state(self, new: NewOrder) -> str:
        """Return where the order's command stands."""
        row = await self.row("SELECT state FROM order_commands WHERE id = :id", {"id": new.command_id})
        return str(row[0])

    async def row(self, query: str, values: Mapping[str, object] | None = None) -> tuple[Any, ...]:
        """Return the one row of a query."""
        async with self.engine.connect() as connection:
            return tuple((await connection.execute(text(query), dict(values or {}))).one())

    async def execute(self, statement: str, values: Mapping[str, object] | None = None) -> int:
        """Run a statement in a transaction of its own and return how many rows it changed."""
        async with self.engine.begin() as connection:
            return (await connection.execute(text(statement), dict(values or {}))).rowcount

    async def second_account(self, name: str = "other") -> Account:
        """Store one more account on the same market."""
        account = replace(new_account(name), market_source=self.account.market_source)
        async with self.uow.transaction() as tx:
            await tx.accounts.add(StoredAccount(account=account, credentials=b"sealed", base_url=None))
        return account

    async def let_claims_die(self, *, ago: timedelta = timedelta(minutes=1)) -> None:
        """Move the `send_by` of all claims into the past of the database's clock."""
        await self.execute("UPDATE order_commands SET send_by = now() - CAST(:ago AS interval)", {"ago": ago})
