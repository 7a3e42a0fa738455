"""A desk to trade from: a migrated database with the sample's instruments, a paper account, and a market's time."""

import asyncio
import atexit
import hashlib
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
from pydantic import SecretStr
from redis.exceptions import RedisError
from sqlalchemy import RowMapping, text

from app.bootstrap.foundation import Foundation, foundation
from app.bootstrap.paper import paper_accounts
from app.brokers.governor import EPOCH_KEY
from app.core.accounts import Account
from app.core.instruments import BrokerSymbol, Exchange, Instrument
from app.core.order_changes import Wanted
from app.core.orders import Order, OrderType, Product, Side, Urgency, Validity
from app.core.ports import BrokerTrade, Ring
from app.infra.clock import ist_day
from app.infra.config import Config
from app.infra.crypto import Passwords, derive_key
from app.infra.ids import new_id
from app.market_data.paper_market import PaperMarket
from app.market_data.sample import sample_instruments
from app.repositories.leases import Lease
from app.repositories.market import MarketStep
from app.repositories.users import User
from app.services.account_directory import AccountDirectory
from app.services.change_answers import Asked, ChangeAnswer
from app.services.instrument_manager import InstrumentManager
from app.services.order_changes import OrderChangeService
from app.services.orders import OrderAnswer, OrderRequest, OrderService
from app.services.tokens import ISSUER
from tests.harness.exchange import CONTROL_KEY

SECRET = "a secret of the tests, which is long enough"
NOON = datetime(2019, 1, 1, 6, 30, tzinfo=UTC)
"""The market's time unless a test moves it: 12:00 in India."""

_keys = itertools.count(1)


@cache
def _data_dir() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="sauda-data-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def a_token(username: str = "admin", *, secret: str = SECRET, minutes: int = 60, algorithm: str = "HS256") -> str:
    """Return a token of the API, made here: a real one needs a password check, which is slow on purpose."""
    claims = {"iss": ISSUER, "sub": username, "role": "ADMIN", "exp": datetime.now(UTC) + timedelta(minutes=minutes)}
    key = "" if algorithm == "none" else derive_key(secret, "sauda/token/v1")
    return jwt.encode(claims, key, algorithm=algorithm)


def settings(database_url: str, redis_url: str, *, exchange_port: int = 1, **changes: Any) -> Config:  # noqa: ANN401
    """Return settings for the servers of a test, whose processes keep their files apart from the installation's."""
    return Config(
        data_dir=changes.pop("data_dir", _data_dir()),
        database_url=SecretStr(database_url),
        redis_url=SecretStr(redis_url),
        secret_key=SecretStr(SECRET),
        exchange_port=exchange_port,
        exchange_control_key=SecretStr(CONTROL_KEY),
        **changes,
    )


def environment(config: Config) -> dict[str, str]:
    """Return the environment that gives a process of its own these settings."""
    values = config.model_dump()
    return {
        f"SAUDA_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in values.items()
    }


@asynccontextmanager
async def running(role: Callable[[Config, asyncio.Event], Awaitable[None]], config: Config) -> AsyncIterator[None]:
    """Run a role inside the test; it is told to stop at the end, and its errors are the test's."""
    stop = asyncio.Event()
    task = asyncio.create_task(role(config, stop))
    try:
        yield
    finally:
        stop.set()
        await task


class SilentDoorbell:
    """A doorbell that keeps what it was asked to ring."""

    def __init__(self) -> None:
        self.rings: list[Ring] = []

    async def ring(self, rings: list[Ring]) -> bool:
        """Keep the rings."""
        self.rings += rings
        return True


class Desk:
    """Services over the test's servers, and short ways to look at what they stored."""

    def __init__(self, base: Foundation, market: PaperMarket) -> None:
        self.base = base
        self.uow = base.uow
        self.market = market
        self.doorbell = SilentDoorbell()
        self.instruments: dict[str, Instrument] = {}
        shared: dict[str, Any] = {
            "uow": base.uow,
            "instruments": InstrumentManager(base.uow),
            "accounts": AccountDirectory(base.uow),
            "doorbell": self.doorbell,
            "clock": base.clock,
        }
        self.orders = OrderService(**shared)
        self.order_changes = OrderChangeService(**shared)

    async def load_instruments(self) -> None:
        """Store the sample's instruments with their symbols at the paper exchange and at the null broker."""
        async with self.uow.transaction() as tx:
            for entry in sample_instruments():
                instrument_id = await tx.instruments.upsert(entry.instrument)
                for broker in (entry.broker, "null"):
                    await tx.instruments.upsert_symbol(
                        BrokerSymbol(
                            broker=broker,
                            instrument_id=instrument_id,
                            trading_symbol=entry.trading_symbol,
                            token=entry.token,
                        )
                    )
            self.instruments = {one.symbol: one for one in await tx.instruments.all()}

    async def add_account(
        self, name: str = "paper", *, source: str = "paper", broker: str = "angelone", orders_per_second: int = 5000
    ) -> Account:
        """Store a paper account."""
        async with self.uow.transaction() as tx:
            return await paper_accounts(self.base, self.market).add(
                tx, name=name, market_source=source, broker=broker, orders_per_second=orders_per_second
            )

    async def account_named(self, name: str = "paper") -> Account:
        """Return an account by its name."""
        async with self.uow.statement() as tx:
            account = await tx.accounts.by_name(name)
        assert account is not None
        return account

    async def add_user(self, username: str = "admin", password: str = "right") -> None:
        """Store a user of the API."""
        async with self.uow.transaction() as tx:
            await tx.users.add(
                User(
                    id=new_id(),
                    username=username,
                    password_hash=Passwords().hash(password),
                    role="ADMIN",
                    disabled=False,
                )
            )

    async def set_market_time(self, at: datetime = NOON, *, source: str = "paper", step: int = 1) -> None:
        """Move a market's clock on."""
        async with self.uow.transaction() as tx:
            await tx.market.set_clock(MarketStep(source, step, at, ist_day(at), []), "[]")

    async def pause(self, account: Account) -> None:
        """Let the account take no more orders."""
        async with self.uow.transaction() as tx:
            await tx.accounts.pause(account.id)

    async def place(self, *, account: str = "paper", quantity: int = 10, **changes: Any) -> OrderAnswer:  # noqa: ANN401
        """Save an order, as the API and the scheduler do; it must be accepted."""
        wanted: dict[str, Any] = {
            "instrument": "NSE:YESBANK",
            "side": Side.BUY,
            "order_type": OrderType.MARKET,
            "product": Product.MIS,
            "validity": Validity.DAY,
            "urgency": Urgency.NORMAL,
        }
        key = f"key-{next(_keys)}"
        request = OrderRequest(account=account, quantity=quantity, **(wanted | changes))
        answer = await self.orders.place(
            request, caller="user:test", key=key, body_hash=hashlib.sha256(key.encode()).digest()
        )
        assert answer.order_id is not None, answer
        return answer

    async def cancel(self, order_id: UUID | None, *, key: str | None = None) -> ChangeAnswer:
        """Ask for a cancel, as the API does."""
        assert order_id is not None
        return await self.order_changes.cancel(order_id, asked(key))

    async def modify(self, order_id: UUID | None, *, key: str | None = None, **wanted: Any) -> ChangeAnswer:  # noqa: ANN401
        """Ask for new terms, as the API does."""
        assert order_id is not None
        return await self.order_changes.modify(order_id, Wanted(**wanted), asked(key))

    async def placed(self, broker_order_id: str, **changes: Any) -> UUID:  # noqa: ANN401
        """Save an order and store that the broker took it under this id."""
        answer = await self.place(**changes)
        await self.execute(
            "UPDATE order_commands SET state = 'DONE', attempt = 1 WHERE order_id = :id", id=answer.order_id
        )
        await self.execute(
            "UPDATE orders SET status = 'PLACED', broker_order_id = :broker_id WHERE id = :id",
            id=answer.order_id,
            broker_id=broker_order_id,
        )
        assert answer.order_id is not None
        return answer.order_id

    async def lease(self, role: str = "keeper", *, holder: str = "test", ttl_s: float = 60.0) -> Lease:
        """Take a role's lease."""
        async with self.uow.statement() as tx:
            lease = await tx.leases.acquire(role=role, holder=holder, ttl_s=ttl_s)
        assert lease is not None
        return lease

    async def order(self, order_id: UUID | None) -> Order:
        """Return an order as it is stored."""
        assert order_id is not None
        async with self.uow.statement() as tx:
            order = await tx.orders.get(order_id)
        assert order is not None
        return order

    async def status(self, order_id: UUID | None) -> str:
        """Return an order's status."""
        return (await self.order(order_id)).status.value

    async def command(self, order_id: UUID | None) -> RowMapping:
        """Return the row of an order's placement."""
        query = "SELECT * FROM order_commands WHERE order_id = :id AND kind = 'PLACE'"
        return (await self.rows(query, id=order_id))[0]

    async def events(self, order_id: UUID | None) -> list[str]:
        """Return the names of an order's events, oldest first."""
        rows = await self.rows("SELECT event FROM order_events WHERE order_id = :id ORDER BY id", id=order_id)
        return [row["event"] for row in rows]

    async def count(self, table: str) -> int:
        """Return the number of rows of a table."""
        return int((await self.rows(f"SELECT count(*) AS n FROM {table}"))[0]["n"])

    async def rows(self, statement: str, **params: object) -> list[RowMapping]:
        """Run a query."""
        async with self.uow._engine.connect() as connection:
            return list((await connection.execute(text(statement), params)).mappings())

    async def execute(self, statement: str, **params: object) -> None:
        """Run a statement and commit it."""
        async with self.uow._engine.begin() as connection:
            await connection.execute(text(statement), params)


def asked(key: str | None = None, *, account: str | None = None) -> Asked:
    """Return who asks for a change: a key of its own unless the test names one."""
    key = key or f"key-{next(_keys)}"
    return Asked(caller="user:test", key=key, body_hash=hashlib.sha256(key.encode()).digest(), account=account)


@asynccontextmanager
async def desk(
    database_url: str,
    redis_url: str,
    *,
    exchange_port: int = 1,
    account: bool = True,
    **changes: Any,  # noqa: ANN401
) -> AsyncIterator[Desk]:
    """Open a desk; its account `paper` trades on the market `paper`, where it is noon."""
    config = settings(database_url, redis_url, exchange_port=exchange_port, **changes)
    async with foundation(config) as base:
        market = PaperMarket(config.exchange_url, CONTROL_KEY)
        try:
            # On a new Redis no order is sent for a second, lest one was wiped: this one is new on purpose.
            with suppress(RedisError, OSError):
                await base.redis.set(EPOCH_KEY, 1)
            made = Desk(base, market)
            await made.load_instruments()
            if account:
                await made.add_account()
                await made.set_market_time()
            yield made
        finally:
            await market.close()


def a_trade(
    broker_order_id: str,
    trade_id: str,
    quantity: int = 10,
    price: str = "182.65",
    **changes: Any,  # noqa: ANN401
) -> BrokerTrade:
    """Return a row of a trade book: a purchase of YESBANK at noon unless told otherwise."""
    values: dict[str, Any] = {
        "exchange": Exchange.NSE,
        "trading_symbol": "YESBANK-EQ",
        "side": Side.BUY,
        "traded_at": NOON,
        "trade_date": ist_day(NOON),
    }
    return BrokerTrade(
        broker_order_id=broker_order_id,
        trade_id=trade_id,
        quantity=quantity,
        price=Decimal(price),
        **(values | changes),
    )


async def until_done(event: asyncio.Event, *, timeout_s: float = 10.0) -> None:
    """Wait for an event, but not for ever."""
    async with asyncio.timeout(timeout_s):
        await event.wait()
