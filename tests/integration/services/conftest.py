"""An executor over a real database, and a broker behind its real guard that answers as a test says."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from sqlalchemy import RowMapping

from app.brokers.base import EndpointGroup, RateLimit
from app.brokers.breaker import BreakerChange, Health
from app.brokers.governor import Budget, Granted, NotNowReason, Spend, Wait
from app.brokers.guarded import GuardedBroker
from app.brokers.limits import WriteLimits
from app.core.errors import LoginRefused, SessionDead
from app.core.orders import OrderType
from app.core.outcomes import Accepted, PlaceOutcome
from app.core.ports import (
    BrokerOrder,
    BrokerPosition,
    BrokerSession,
    BrokerTrade,
    Funds,
    OrderBook,
    PlaceRequest,
    StoredTokens,
)
from app.services.breaker_alerts import BreakerAlerts
from app.services.broker_pool import BrokerPool
from app.services.order_executor import Later, OrderExecutor
from app.services.orders import OrderAnswer
from tests.harness.desk import Desk, desk
from tests.harness.queue import eventually

Answer = PlaceOutcome | Exception | Callable[[Any], Awaitable[PlaceOutcome]]


def a_session() -> BrokerSession:
    return BrokerSession(
        client_code="P1",
        access_token="a",
        refresh_token="r",
        feed_token="f",
        expires_at=datetime.now(UTC) + timedelta(hours=8),
    )


class ScriptedBroker:
    """Implements `core.ports.Broker`: answers each write with the next line of its script."""

    def __init__(self) -> None:
        self.script: list[Answer] = []
        self.received: list[PlaceRequest] = []
        self.modified: list[tuple[str, PlaceRequest]] = []
        self.cancelled: list[tuple[str, OrderType]] = []
        self.logins = 0
        self.login_error: Exception | None = None
        self.trades: list[BrokerTrade] = []
        self.book = OrderBook()

    async def login(self) -> BrokerSession:
        self.logins += 1
        if self.login_error is not None:
            raise self.login_error
        return a_session()

    async def refresh(self, session: BrokerSession) -> BrokerSession:
        raise SessionDead("this broker renews nothing")

    async def place(self, session: BrokerSession, request: PlaceRequest, *, deadline: float) -> PlaceOutcome:
        self.received.append(request)
        return await self._answer(f"B{len(self.received)}", request)

    async def modify(
        self, session: BrokerSession, broker_order_id: str, request: PlaceRequest, *, deadline: float
    ) -> PlaceOutcome:
        self.modified.append((broker_order_id, request))
        return await self._answer(broker_order_id, request)

    async def cancel(
        self, session: BrokerSession, broker_order_id: str, order_type: OrderType, *, deadline: float
    ) -> PlaceOutcome:
        self.cancelled.append((broker_order_id, order_type))
        return await self._answer(broker_order_id, None)

    async def _answer(self, broker_order_id: str, request: PlaceRequest | None) -> PlaceOutcome:
        answer = self.script.pop(0) if self.script else Accepted(broker_order_id=broker_order_id)
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            return await answer(request)
        return answer

    async def order_book(self, session: BrokerSession) -> OrderBook:
        return self.book

    async def trade_book(self, session: BrokerSession) -> list[BrokerTrade]:
        return self.trades

    async def positions(self, session: BrokerSession) -> list[BrokerPosition]:
        return []

    async def funds(self, session: BrokerSession) -> Funds:
        raise NotImplementedError

    def order_updates(self, session: BrokerSession) -> AbstractAsyncContextManager[AsyncIterator[BrokerOrder]]:
        raise NotImplementedError

    async def close(self) -> None:
        pass


@dataclass
class Tokens:
    """Implements `core.ports.TokenStore` in memory."""

    stored: StoredTokens | None = field(default_factory=lambda: StoredTokens(session=a_session(), version=1))
    dead: list[int] = field(default_factory=list)
    asked: int = 0

    async def get(self, account_id: UUID) -> StoredTokens | None:
        self.asked += 1
        return self.stored

    async def mark_dead(self, account_id: UUID, version: int) -> None:
        self.dead.append(version)
        if self.stored is not None and self.stored.version == version:
            self.stored = None


@dataclass
class Permits:
    """Implements `Governor`: grants unless told to let callers wait, or to fail."""

    waits_s: list[float | Wait | Exception] = field(default_factory=list)
    granted: list[Spend] = field(default_factory=list)
    renewed: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    reported: list[Health] = field(default_factory=list)
    shaky: bool = False
    change: BreakerChange | None = None

    async def take(self, budget: Budget, spend: Spend, *, renewing: str | None = None) -> Granted | Wait:
        wait = self.waits_s.pop(0) if self.waits_s else 0.0
        if isinstance(wait, Exception):
            raise wait
        if isinstance(wait, Wait):
            return wait
        if wait > 0:
            return Wait(reason=NotNowReason.OVER_BUDGET, seconds=wait)
        if renewing is not None:
            self.renewed.append(renewing)
        self.granted.append(spend)
        return Granted(permit=f"permit-{len(self.granted)}", shaky=self.shaky)

    async def keep(self, budget: Budget, spend: Spend, granted: Granted) -> None:
        self.kept.append(granted.permit)

    async def give_back(self, budget: Budget, spend: Spend, granted: Granted) -> None:
        self.returned.append(granted.permit)

    async def report(self, budget: Budget, granted: Granted, health: Health) -> BreakerChange | None:
        self.reported.append(health)
        return self.change

    async def take_read(self, budget: Budget, group: EndpointGroup, limit: RateLimit) -> float:
        return 0.0


class OneBroker:
    """The pool of a process that knows one broker."""

    def __init__(self, guarded: GuardedBroker) -> None:
        self.guarded = guarded

    async def get(self, account_id: UUID) -> GuardedBroker:
        return self.guarded


@dataclass
class Floor:
    """A desk with an executor and all that it leans on."""

    desk: Desk
    broker: ScriptedBroker
    tokens: Tokens
    permits: Permits
    guarded: GuardedBroker
    executor: OrderExecutor

    def another_executor(self, worker: str, *, send_window_s: float = 5.0, record_for_s: float = 5.0) -> OrderExecutor:
        return OrderExecutor(
            uow=self.desk.uow,
            brokers=cast(BrokerPool, OneBroker(self.guarded)),
            clock=self.desk.base.clock,
            worker=worker,
            send_window_s=send_window_s,
            record_for_s=record_for_s,
            bell=self.desk.base.bell,
            doorbell=self.desk.doorbell,
        )

    async def run(self, answer: OrderAnswer, executor: OrderExecutor | None = None) -> Later | None:
        command = await self.desk.command(answer.order_id)
        return await (executor or self.executor).run(
            command_id=command["id"], account_id=command["account_id"], rung_at=datetime.now(UTC)
        )

    async def run_change(self, order_id: UUID | None, kind: str, executor: OrderExecutor | None = None) -> Later | None:
        """Carry out the newest modify or cancel of an order."""
        command = await self.change(order_id, kind)
        return await (executor or self.executor).run(
            command_id=command["id"], account_id=command["account_id"], rung_at=datetime.now(UTC)
        )

    async def change(self, order_id: UUID | None, kind: str) -> RowMapping:
        """Return the newest modify or cancel of an order."""
        query = "SELECT * FROM order_commands WHERE order_id = :id AND kind = :kind ORDER BY id DESC LIMIT 1"
        (command,) = await self.desk.rows(query, id=order_id, kind=kind)
        return command

    async def change_state(self, order_id: UUID | None, kind: str) -> tuple[str, int]:
        """Return the state and the attempts of the newest modify or cancel of an order."""
        command = await self.change(order_id, kind)
        return command["state"], command["attempt"]

    async def state(self, answer: OrderAnswer) -> tuple[str, str, int]:
        """Return the order's status, its command's state, and the number of attempts."""
        command = await self.desk.command(answer.order_id)
        return await self.desk.status(answer.order_id), command["state"], command["attempt"]


async def a_floor(made: Desk) -> Floor:
    """Return an executor with a scripted broker over a desk."""
    broker, tokens, permits = ScriptedBroker(), Tokens(), Permits()
    account = await made.account_named()
    guarded = GuardedBroker(
        broker,
        account_id=account.id,
        budget=Budget.of(account, WriteLimits(per_second=10, per_minute=None, per_hour=None, segment_per_second=10)),
        tokens=tokens,
        governor=permits,
        clock=made.base.clock,
        on_breaker=BreakerAlerts(made.uow, account).note,
    )
    floor = Floor(made, broker, tokens, permits, guarded, cast(OrderExecutor, None))
    floor.executor = floor.another_executor("w1")
    return floor


@pytest.fixture
async def floor(database_url: str, redis_url: str) -> AsyncIterator[Floor]:
    async with desk(database_url, redis_url) as made:
        yield await a_floor(made)


@pytest.fixture
async def plain_desk(database_url: str, redis_url: str) -> AsyncIterator[Desk]:
    async with desk(database_url, redis_url) as made:
        yield made


async def until_sent(broker: ScriptedBroker) -> None:
    await eventually(lambda: bool(broker.received))


def wrong_pin() -> LoginRefused:
    return LoginRefused("Invalid PIN", broker_code="AB1007", configuration=False)
