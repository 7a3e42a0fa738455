"""Bells between processes, beside the order lanes: "something changed, look". They carry no facts and may be lost."""

import asyncio
from enum import StrEnum

from redis.asyncio import Redis
from redis.exceptions import RedisError

PUBLISH_TIMEOUT_S = 0.05


class Channel(StrEnum):
    """What a listener may want to be woken by."""

    MARKET = "sauda:market"
    PROGRESS = "sauda:progress"
    REPLAYS = "sauda:replays"
    HINTS = "sauda:hints"


class EventBell:
    """Publishes. Whoever waits for a change also looks for itself from time to time."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def hint(self, payload: str, *, once_in_ms: int) -> bool:
        """Publish on the hints' channel, unless the same was published in the last `once_in_ms`; true where it was.

        Takes 50 ms at most, and never raises for Redis.
        """
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                if not await self._redis.set(f"{Channel.HINTS.value}:{payload}", b"1", nx=True, px=once_in_ms):
                    return False
                await self._redis.publish(Channel.HINTS.value, payload)
        except (RedisError, OSError):
            return False
        return True

    async def ring(self, channel: Channel) -> None:
        """Wake the channel's listeners; takes 50 ms at most, and never raises for Redis."""
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                await self._redis.publish(channel.value, b"1")
        except (RedisError, OSError):
            return


async def wait_or_timeout(event: asyncio.Event, seconds: float) -> bool:
    """Wait for a wake-up, `seconds` at most, and make the event ready for the next one; false where none came."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    finally:
        event.clear()
    return True
