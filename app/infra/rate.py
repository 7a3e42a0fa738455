"""Permits for broker writes, shared by all workers through Redis: so many in any rolling second."""

from collections.abc import Awaitable
from typing import Protocol, cast
from uuid import UUID

from redis.asyncio import Redis

WINDOW_MS = 1050
"""A little over a second, so that a permit's way to the broker cannot squeeze ten writes into nine's second."""

# KEYS[1] the account's log of permits; ARGV: limit, window in ms, unique member. Redis' own clock decides.
_TAKE = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
local used = redis.call('ZCARD', KEYS[1])
if used < tonumber(ARGV[1]) then
  redis.call('ZADD', KEYS[1], now, t[1] .. '.' .. t[2] .. '.' .. used)
  redis.call('PEXPIRE', KEYS[1], ARGV[2] * 2)
  return 0
end
local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return math.max(1, oldest[2] + ARGV[2] - now)
"""


class _Script(Protocol):
    def __call__(self, keys: list[str], args: list[str | int]) -> Awaitable[object]: ...


class RedisRatePermits:
    """Implements `core.ports.RatePermits`."""

    def __init__(self, redis: Redis) -> None:
        self._take = cast(_Script, redis.register_script(_TAKE))

    async def take(self, account_id: UUID, *, per_second: int) -> float:
        """Take one permit; 0.0 when granted, else the seconds to wait. Raises what Redis raises."""
        wait_ms = await self._take([f"rate:{account_id}"], [per_second, WINDOW_MS])
        return int(str(wait_ms)) / 1000
