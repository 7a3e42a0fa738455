"""The last price of every instrument, in Redis: for screens and checks that want it now. The truth is in the bars."""

import asyncio
import json
from collections.abc import Awaitable, Sequence
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core.bars import Tick

KEY = "prices:last"
WRITE_TIMEOUT_S = 0.05


class LastPrices:
    """Writes last prices. Only the feed does; a Redis that is away loses them until the next tick."""

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
