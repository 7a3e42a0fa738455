"""Rings the bells of saved commands. A bell that cannot be rung is rung later by the sweep."""

import asyncio
from collections.abc import Sequence

from arq.connections import ArqRedis
from arq.jobs import serialize_job
from redis.exceptions import RedisError

from app.core.ports import Clock, Ring
from app.infra.logging import get_logger
from app.queue.claims import LANE_INDEX, LANE_KEYS
from app.queue.codec import serialize
from app.queue.errors import QueueUnreachable
from app.queue.lanes import EPOCH_KEY, WAKE_CHANNEL, epoch_ms, rank
from app.queue.scripts import RING, Argument, Call, run_script

JOB_NAME = "execute_command"
PAYLOAD_VERSION = 2
RING_TIMEOUT_S = 0.05
"""What an API request spends on a doorbell at most: the order is saved already."""

SWEEP_TIMEOUT_S = 2.0
SWEEP_BATCH = 500
PAYLOAD_TTL_MS = 24 * 3600 * 1000
"""A bell that nobody heeded for a day is dropped; the sweep rings again while its command waits."""

log = get_logger(__name__)


class RedisDoorbell:
    """Implements `core.ports.Doorbell`, and what the keeper needs beside it: a patient re-ring, and the epoch key."""

    def __init__(self, redis: ArqRedis, *, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock
        self._lost = False

    async def ring(self, rings: list[Ring]) -> bool:
        """Ring for all commands in one round trip of 50 ms at most; False when they may not hang. Never raises."""
        return await self._ring(rings, timeout_s=RING_TIMEOUT_S)

    async def rering(self, rings: Sequence[Ring]) -> bool:
        """Ring again in batches, each with the patience of a sweep; stops at the first batch that fails.

        A bell that hangs already keeps its rank, so this may be said at any time. Never raises.
        """
        for start in range(0, len(rings), SWEEP_BATCH):
            if not await self._ring(rings[start : start + SWEEP_BATCH], timeout_s=SWEEP_TIMEOUT_S):
                return False
        return True

    async def epoch(self) -> str | None:
        """Return the epoch of this Redis; None means that it was wiped, and every waiting command must be rung again.

        Raises `QueueUnreachable` when Redis does not answer: that is not a wipe.
        """
        try:
            async with asyncio.timeout(SWEEP_TIMEOUT_S):
                value = await self._redis.get(EPOCH_KEY)
        except (RedisError, OSError) as error:
            raise QueueUnreachable("the epoch cannot be read") from error
        return None if value is None else value.decode()

    async def set_epoch(self, epoch: str) -> None:
        """Mark this Redis as fully rung. Raises `QueueUnreachable`."""
        try:
            async with asyncio.timeout(SWEEP_TIMEOUT_S):
                await self._redis.set(EPOCH_KEY, epoch)
        except (RedisError, OSError) as error:
            raise QueueUnreachable("the epoch cannot be written") from error

    async def _ring(self, rings: Sequence[Ring], *, timeout_s: float) -> bool:
        if not rings:
            return True
        call = Call(RING, LANE_KEYS, self._arguments(rings))
        try:
            async with asyncio.timeout(timeout_s):
                await run_script(self._redis, call)
        except (RedisError, OSError) as error:
            self._note_lost(error)
            return False
        if self._lost:
            self._lost = False
            log.info("queue.doorbell.back")
        return True

    def _arguments(self, rings: Sequence[Ring]) -> list[Argument]:
        rung_ms = epoch_ms(self._clock.now())
        args: list[Argument] = [WAKE_CHANNEL, PAYLOAD_TTL_MS]
        for ring in rings:
            job_id = str(ring.command_id)
            args += (LANE_INDEX[ring.lane], job_id, rank(ring.urgency, ring.enqueued_at), _payload(ring, rung_ms))
        return args

    def _note_lost(self, error: Exception) -> None:
        if not self._lost:
            self._lost = True
            log.warning("queue.doorbell.lost", error=repr(error))


def _payload(ring: Ring, rung_ms: int) -> bytes:
    kwargs = {
        "v": PAYLOAD_VERSION,
        "command_id": str(ring.command_id),
        "account_id": str(ring.account_id),
        "urgency": ring.urgency.value,
        "exchange": ring.exchange.value,
        "rung_ms": rung_ms,
    }
    return serialize_job(JOB_NAME, (), kwargs, None, rung_ms, serializer=serialize)
