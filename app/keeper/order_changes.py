"""Looks after modifies and cancels: held ones are released, ambiguous cancels repeated, overtaken ones ended."""

from app.infra.logging import get_logger
from app.queue.producer import RedisDoorbell
from app.repositories.commands import TOO_MANY_ATTEMPTS
from app.repositories.leases import Lease
from app.repositories.unit_of_work import UnitOfWork
from app.services.dead_letters import alert_parked

BATCH = 200

log = get_logger(__name__)


class OrderChanges:
    """One turn does a batch of each. Workers do most of it at once; this is for those that died in between."""

    def __init__(self, *, uow: UnitOfWork, doorbell: RedisDoorbell, lease: Lease) -> None:
        self._uow = uow
        self._doorbell = doorbell
        self._lease = lease

    async def turn(self) -> None:
        """Raises `LeaseLost` when another keeper leads."""
        async with self._uow.fenced(self._lease) as tx:
            ended = await tx.commands.end_over(batch=BATCH)
            rings = await tx.commands.release_held(batch=BATCH)
            parked = await tx.commands.park_spent_cancels(batch=BATCH)
            await alert_parked(tx, parked, reason=TOO_MANY_ATTEMPTS)
            rings += await tx.commands.repeat_cancels(batch=BATCH)
        if rings:
            await self._doorbell.rering(rings)
        if parked:
            log.error("commands.parked", commands=[str(one.command_id) for one in parked])
        if ended:
            log.info("changes.overtaken", ended=ended)
