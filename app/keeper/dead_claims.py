"""Ends claims whose owner went silent: past `send_by` by the database's clock, never because of Redis."""

from app.infra.events import Channel, EventBell
from app.infra.logging import get_logger
from app.infra.metrics import DUTY_ITEMS
from app.repositories.leases import Lease
from app.repositories.unit_of_work import UnitOfWork

BATCH = 200

log = get_logger(__name__)


class DeadClaims:
    """One turn makes such orders UNKNOWN: nobody can say whether they were sent."""

    def __init__(self, *, uow: UnitOfWork, lease: Lease, margin_s: float, bell: EventBell) -> None:
        self._uow = uow
        self._lease = lease
        self._margin_s = margin_s
        self._bell = bell

    async def turn(self) -> None:
        """End a batch of dead claims. Raises `LeaseLost` when another keeper leads."""
        async with self._uow.fenced(self._lease) as tx:
            unknown, buried = await tx.commands.bury_dead(margin_s=self._margin_s, batch=BATCH, actor="keeper")
        DUTY_ITEMS.labels("dead_claims").inc(buried)
        if buried:
            log.error("claims.dead", unknown=unknown, buried=buried)
            await self._bell.ring(Channel.PROGRESS)
