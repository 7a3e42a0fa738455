"""The last price of every instrument, in Redis: for screens and checks that want it now. The truth is in the bars."""

import asyncio
import json
from collections.abc import Awaitable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import cast
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core.balances import LastPrice
from app.core.bars import Tick

KEY = "prices:last"
WRITE_TIMEOUT_S = 0.05
READ_TIMEOUT_S = 0.5


class LastPrices:
    """Writes and reads last prices. Only the feed writes; a Redis that is away loses them until the next tick."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def write(self, source: str, ticks: Sequence[Tick]) -> None:
        """Store the ticks; takes 50 ms at most and never raises for Redis."""
        if not ticks:
            return
        values = {
            f"{source}:{tick.instrument_id}": json.dumps({"price": str(tick.price), "at": tick.at.isoformat()})
            for tick in ticks
        }
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await cast(Awaitable[int], self._redis.hset(KEY, mapping=values))
        except (RedisError, OSError):
            return

    async def read(self, source: str, instrument_ids: Sequence[UUID]) -> dict[UUID, LastPrice]:
        """Return the last prices that there are, within half a second; none come from a Redis that is away."""
        if not instrument_ids:
            return {}
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                keys = [f"{source}:{instrument_id}" for instrument_id in instrument_ids]
                values = await cast(Awaitable[list[bytes | None]], self._redis.hmget(KEY, keys))
        except (RedisError, OSError):
            return {}
        return {
            instrument_id: _last_price(value)
            for instrument_id, value in zip(instrument_ids, values, strict=True)
            if value is not None
        }


def _last_price(value: bytes) -> LastPrice:
    stored = json.loads(value)
    return LastPrice(price=Decimal(stored["price"]), at=datetime.fromisoformat(stored["at"]))
