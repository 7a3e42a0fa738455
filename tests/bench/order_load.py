"""The shapes of load on the whole system: paced, saturating, and a backlog that was saved while no worker ran."""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count

from app.bootstrap.foundation import foundation
from app.bootstrap.trading import order_service
from app.core.orders import OrderType, Product, Side, Urgency
from app.infra.clock import SystemClock
from app.queue.connection import build_queue_redis
from app.queue.producer import RedisDoorbell
from app.services.orders import OrderRequest
from tests.bench.order_client import CONNECTIONS, OrderClient
from tests.harness.system import LoggedInAccount, System

INSTRUMENT = "NSE:YESBANK"
SAVERS = 8

_numbers = count(1)


class OrderLoad:
    """Market orders of one unit, bought and sold in turn, over several accounts in turn."""

    def __init__(self, client: OrderClient, accounts: Sequence[LoggedInAccount]) -> None:
        self.posted: dict[str, datetime] = {}
        """When the request of each order started, by its tag."""
        self._client = client
        self._accounts = accounts

    async def post(self, urgency: Urgency = Urgency.NORMAL) -> None:
        """Post one order."""
        number = next(_numbers)
        body: dict[str, str | int] = {
            "account": self._accounts[number % len(self._accounts)].name,
            "instrument": INSTRUMENT,
            "side": _side(number),
            "quantity": 1,
            "order_type": "MARKET",
            "product": "MIS",
            "urgency": urgency,
        }
        started = datetime.now(UTC)
        self.posted[await self._client.post(f"bench-{number}", body)] = started

    async def paced(self, *, per_second: float, for_s: float, urgency: Urgency = Urgency.NORMAL) -> None:
        """Start a request at each tick, whether or not those before are answered."""
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(int(per_second * for_s)):
                await asyncio.sleep(max(0.0, started + number / per_second - time.monotonic()))
                group.create_task(self.post(urgency))

    async def saturating(self, *, for_s: float) -> None:
        """Keep every connection busy."""
        until = time.monotonic() + for_s

        async def keep_posting() -> None:
            while time.monotonic() < until:
                await self.post()

        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(keep_posting())


async def save_backlog(system: System, accounts: Sequence[LoggedInAccount], orders: int) -> None:
    """Save orders as the API would, bells and all, with the service itself."""
    async with foundation(system.config) as base:
        redis = build_queue_redis(system.redis.url)
        service, _, _ = order_service(base, RedisDoorbell(redis, clock=SystemClock()))
        wanted = iter(range(orders))

        async def keep_saving() -> None:
            for _ in wanted:
                number = next(_numbers)
                key = f"backlog-{number}"
                request = OrderRequest(
                    account=accounts[number % len(accounts)].name,
                    instrument=INSTRUMENT,
                    side=Side(_side(number)),
                    quantity=1,
                    order_type=OrderType.MARKET,
                    product=Product.MIS,
                )
                digest = hashlib.sha256(key.encode()).digest()
                await service.place(request, caller="user:bench", key=key, body_hash=digest)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(SAVERS):
                    group.create_task(keep_saving())
        finally:
            await redis.aclose()


def _side(number: int) -> str:
    return "BUY" if number % 2 else "SELL"
