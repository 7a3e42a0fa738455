"""Commands that a worker could not claim: it ends, parks, releases or puts off what the database says of them."""

from uuid import UUID

from app.core.commands import CommandKind, CommandState
from app.core.orders import TERMINAL_STATUSES, OrderStatus
from app.core.ports import Doorbell
from app.infra.logging import get_logger
from app.repositories.commands import TOO_MANY_ATTEMPTS, Standing
from app.repositories.unit_of_work import UnitOfWork
from app.services.dead_letters import alert_parked

log = get_logger(__name__)


class UnclaimedCommands:
    """What a worker does with a command that the claim did not give to it."""

    def __init__(self, *, uow: UnitOfWork, doorbell: Doorbell, worker: str) -> None:
        self._uow = uow
        self._doorbell = doorbell
        self._worker = worker

    async def look_after(self, command_id: UUID) -> bool:
        """Do what the command's standing asks for; true where it only waits for another command of its order."""
        async with self._uow.statement() as tx:
            standing = await tx.commands.standing(command_id)
        if standing is None or standing.state is not CommandState.PENDING:
            return False
        if standing.kind is CommandKind.PLACE and standing.cancel_wanted:
            await self.release(standing.order_id)
        elif standing.spent:
            await self._park(command_id)
        elif standing.kind is CommandKind.PLACE:
            async with self._uow.statement() as tx:
                await tx.commands.expire(command_id, worker=self._worker)
        elif standing.status in TERMINAL_STATUSES:
            async with self._uow.statement() as tx:
                await tx.commands.end_if_over(command_id, actor=self._worker)
        else:
            return _rests(standing) and not standing.held_back
        return False

    async def release(self, order_id: UUID) -> None:
        """Settle the cancel that was held for an order of which it is known now where it is."""
        async with self._uow.statement() as tx:
            rings = await tx.commands.release_held([order_id], actor=self._worker)
        if rings:
            await self._doorbell.ring(rings)

    async def _park(self, command_id: UUID) -> None:
        async with self._uow.transaction() as tx:
            parked = await tx.commands.park_if_spent(command_id, actor=self._worker)
            await alert_parked(tx, parked, reason=TOO_MANY_ATTEMPTS)
        for one in parked:
            log.error("order.command.parked", kind=one.kind, order_id=str(one.order_id))


def _rests(standing: Standing) -> bool:
    return standing.status in (OrderStatus.PLACED, OrderStatus.PARTIALLY_FILLED)
