"""Ends orders whose deadline passed before they were sent, although nobody rings for them any more."""

from app.infra.events import Channel, EventBell
from app.infra.logging import get_logger
from app.infra.metrics import DUTY_ITEMS, ORDERS_ENDED
from app.repositories.leases import Lease
from app.repositories.unit_of_work import UnitOfWork

BATCH = 500

log = get_logger(__name__)


class Deadlines:
    """One turn ends a batch, by the time of each account's market."""

    def __init__(self, *, uow: UnitOfWork, lease: Lease, bell: EventBell) -> None:
        self._uow = uow
        self._lease = lease
        self._bell = bell

    async def turn(self) -> None:
        """End what is overdue. Raises `LeaseLost` when another keeper leads."""
        async with self._uow.fenced(self._lease) as tx:
            ended = await tx.order_endings.pass_deadlines(batch=BATCH)
        DUTY_ITEMS.labels("deadlines").inc(ended)
        ORDERS_ENDED.labels("EXPIRED").inc(ended)
        if ended:
            log.info("deadlines.passed", orders=ended)
            await self._bell.ring(Channel.PROGRESS)
