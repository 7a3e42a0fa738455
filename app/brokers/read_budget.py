"""The budgets of reads: each group of endpoints has its own, and none of them is that of orders."""

import asyncio
from collections.abc import Mapping

from redis.exceptions import RedisError

from app.brokers.base import EndpointGroup, RateLimit
from app.brokers.governor import Budget, Governor
from app.core.errors import BrokerUnreadable
from app.core.ports import Clock

WAIT_S_MAX = 10.0
"""A read that may not be sent for longer than this is told to its caller, who knows how to go on without."""

REDIS_TIMEOUT_S = 0.2


class ReadBudget:
    """One account's reads. A group without a limit is never waited for."""

    def __init__(
        self, budget: Budget, governor: Governor, limits: Mapping[EndpointGroup, RateLimit], clock: Clock
    ) -> None:
        self._budget = budget
        self._governor = governor
        self._limits = limits
        self._monotonic = clock.monotonic
        self._next: dict[EndpointGroup, float] = {}

    async def wait(self, group: EndpointGroup) -> None:
        """Return when a read may be sent; raises `BrokerUnreadable` when it may not for `WAIT_S_MAX`."""
        limit = self._limits.get(group)
        if limit is None:
            return
        give_up_at = self._monotonic() + WAIT_S_MAX
        while True:
            wait_s = await self._take(group, limit)
            if wait_s <= 0:
                return
            if self._monotonic() + wait_s > give_up_at:
                raise BrokerUnreadable(f"no budget for {group} within {WAIT_S_MAX:g} s")
            await asyncio.sleep(wait_s)

    async def _take(self, group: EndpointGroup, limit: RateLimit) -> float:
        """Take one of the shared budget. While Redis is away this process alone keeps the pace: truth must be read."""
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_S):
                return await self._governor.take_read(self._budget, group, limit)
        except (RedisError, OSError):
            now = self._monotonic()
            at = self._next.get(group, 0.0)
            if at > now:
                return at - now
            self._next[group] = now + 1 / limit.per_second
            return 0.0
