"""Listens for rung bells. It may miss some: whoever sleeps on it also looks for itself from time to time."""

import asyncio
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from app.infra.backoff import backoff_s

QUIET_S = 5.0
"""After so long without a message the line is tried with a ping, and after as long again it counts as cut."""

RECONNECT_BASE_S = 0.05
RECONNECT_CAP_S = 2.0


def _nothing(payload: bytes) -> None:
    """Take no notice of what a message says."""


class WakeUp:
    """Calls `wake` for each message on a channel, and after each (re)connection, which may have missed some.

    Where a message says something, `hear` is given it before.
    """

    def __init__(
        self, redis: Redis, channel: str, wake: Callable[[], None], hear: Callable[[bytes], None] = _nothing
    ) -> None:
        self._hear = hear
        self._redis = redis
        self._channel = channel
        self._wake = wake
        self._failures = 0

    async def listen(self) -> None:
        """Listen until cancelled; connect again, with growing delays, whenever Redis goes away."""
        while True:
            try:
                await self._listen_once()
            except (RedisError, OSError):
                self._failures += 1
                await asyncio.sleep(backoff_s(self._failures, base_s=RECONNECT_BASE_S, cap_s=RECONNECT_CAP_S))

    async def _listen_once(self) -> None:
        quiet = 0
        async with self._redis.pubsub() as subscription:
            await subscription.subscribe(self._channel)
            while True:
                message = await subscription.get_message(timeout=QUIET_S)
                if message is None:
                    quiet += 1
                    if quiet > 1:
                        raise RedisConnectionError("no answer on the subscription")
                    await subscription.ping()
                    continue
                quiet = 0
                self._failures = 0
                if message["type"] == "message":
                    self._hear(message["data"])
                if message["type"] != "pong":
                    self._wake()
