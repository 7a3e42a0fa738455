"""Rings bells that were lost: those that never hung, and all of them after Redis was wiped."""

from app.infra.ids import new_id
from app.infra.logging import get_logger
from app.infra.metrics import DUTY_ITEMS
from app.queue.producer import RedisDoorbell
from app.repositories.leases import Lease
from app.repositories.unit_of_work import UnitOfWork

BATCH = 500
MAX_BATCHES = 400
"""Bells in one full re-ring: 200,000 waiting commands, far beyond a day's."""

log = get_logger(__name__)


class Sweep:
    """One turn rings what has waited too long, most urgent first. A missing epoch key means a wiped Redis."""

    def __init__(self, *, uow: UnitOfWork, doorbell: RedisDoorbell, lease: Lease) -> None:
        self._uow = uow
        self._doorbell = doorbell
        self._lease = lease

    async def turn(self) -> None:
        """Ring once. Raises `QueueUnreachable` while Redis is away, `LeaseLost` when another keeper leads."""
        if await self._doorbell.epoch() is None:
            await self._ring_everything()
            return
        await self._ring_batch()

    async def _ring_everything(self) -> None:
        async with self._uow.fenced(self._lease) as tx:
            await tx.commands.mark_all_unrung()
        rung = 0
        for _ in range(MAX_BATCHES):
            count, heard = await self._ring_batch()
            if not heard:
                return  # without the key the next turn starts again
            rung += count
            if count == 0:
                break
        # Only now: a keeper that dies half-way leaves the key missing, and the next one starts again.
        await self._doorbell.set_epoch(str(new_id()))
        log.warning("sweep.redis_was_wiped", rung=rung)

    async def _ring_batch(self) -> tuple[int, bool]:
        """Ring what is due next; returns how many, and whether Redis took them."""
        async with self._uow.fenced(self._lease) as tx:
            rings = await tx.commands.take_unrung(batch=BATCH)
        DUTY_ITEMS.labels("sweep").inc(len(rings))
        heard = await self._doorbell.rering(rings)
        if not heard:
            log.warning("sweep.not_rung", count=len(rings))
        return len(rings), heard
