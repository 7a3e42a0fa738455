"""Parking what can go no further, and what a person does with it: requeue or close."""

from collections.abc import Sequence
from uuid import UUID

from app.core.alerts import AlertKind, Severity
from app.core.ports import Doorbell
from app.infra.logging import get_logger
from app.repositories.dead_letters import ParkedCommand
from app.repositories.unit_of_work import Transaction, UnitOfWork

LOGGED_OUT_REASON = "broker_logged_out"

log = get_logger(__name__)


class NotParked(LookupError):
    """The command does not exist, or is not parked (any more)."""


async def alert_parked(tx: Transaction, parked: Sequence[ParkedCommand], *, reason: str) -> None:
    """Open the alert of each command that this transaction has parked."""
    for one in parked:
        await tx.alerts.open(
            AlertKind.COMMAND_PARKED,
            str(one.command_id),
            severity=Severity.CRITICAL,
            message=f"a {one.kind} command is parked ({reason}): requeue or close it",
            account_id=one.account_id,
            order_id=one.order_id,
        )


class DeadLetters:
    """Parks commands for workers, and settles parked ones for people."""

    def __init__(self, *, uow: UnitOfWork, doorbell: Doorbell) -> None:
        self._uow = uow
        self._doorbell = doorbell

    async def park(self, command_id: UUID, *, reason: str, actor: str) -> bool:
        """Park a waiting command with its alert; false where it does not wait."""
        async with self._uow.transaction() as tx:
            parked = await tx.dead_letters.park(command_id, reason=reason, actor=actor)
            if parked is None:
                return False
            await alert_parked(tx, [parked], reason=reason)
        log.error("dead_letters.parked", order_id=str(parked.order_id), kind=parked.kind, reason=reason)
        return True

    async def requeue(self, command_id: UUID, *, actor: str, reason: str) -> UUID:
        """Send a parked command on its way again, through every gate; returns it. Raises `NotParked`."""
        async with self._uow.transaction() as tx:
            ring = await tx.dead_letters.requeue(command_id, reason=reason, actor=actor)
            if ring is None:
                raise NotParked(command_id)
            await self._settled(tx, command_id, action="dead_letter.requeue", actor=actor, reason=reason)
        await self._doorbell.ring([ring])
        return command_id

    async def close(self, command_id: UUID, *, actor: str, reason: str) -> UUID:
        """Give a parked command up: a placement's order is CANCELLED, never sent. Returns the order's id.

        Raises `NotParked`.
        """
        async with self._uow.transaction() as tx:
            order_id = await tx.dead_letters.close(command_id, reason=reason, actor=actor)
            if order_id is None:
                raise NotParked(command_id)
            await self._settled(tx, command_id, action="dead_letter.close", actor=actor, reason=reason)
        return order_id

    async def _settled(self, tx: Transaction, command_id: UUID, *, action: str, actor: str, reason: str) -> None:
        await tx.alerts.close(AlertKind.COMMAND_PARKED, str(command_id))
        await tx.audit.add(actor=actor, action=action, subject=str(command_id), reason=reason)
