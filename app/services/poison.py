"""Commands that crash whoever carries them: after so many times in the same way they are parked, for it would go on."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from redis.exceptions import RedisError

from app.core.instruments import Exchange
from app.core.orders import Urgency
from app.infra.database import is_database_away
from app.infra.logging import get_logger
from app.repositories.dead_letters import CRASH_LENGTH_MAX
from app.repositories.unit_of_work import UnitOfWork
from app.services.dead_letters import DeadLetters
from app.services.order_executor import Later

CRASHES_MAX = 5

log = get_logger(__name__)


class Carrier(Protocol):
    """What carries a command out."""

    async def run(
        self, *, command_id: UUID, account_id: UUID, urgency: Urgency, exchange: Exchange, rung_at: datetime | None
    ) -> Later | None:
        """Carry out a command as far as it goes now."""


class PoisonGuard:
    """Carries commands out, counts in the database how often each crashes, and parks the one that always does."""

    def __init__(self, carrier: Carrier, *, uow: UnitOfWork, letters: DeadLetters, worker: str) -> None:
        self._carrier = carrier
        self._uow = uow
        self._letters = letters
        self._worker = worker

    async def run(
        self, *, command_id: UUID, account_id: UUID, urgency: Urgency, exchange: Exchange, rung_at: datetime | None
    ) -> Later | None:
        """Carry out a command as far as it goes now; raises what the carrier raises, unless the command is parked."""
        try:
            return await self._carrier.run(
                command_id=command_id, account_id=account_id, urgency=urgency, exchange=exchange, rung_at=rung_at
            )
        except Exception as error:
            if _is_weather(error) or not await self._is_parked(command_id, error):
                raise
            log.exception("command.poison", command_id=str(command_id), account_id=str(account_id))
            return None

    async def _is_parked(self, command_id: UUID, error: Exception) -> bool:
        reason = f"poison: {type(error).__name__}: {error}"[:CRASH_LENGTH_MAX]
        async with self._uow.statement() as tx:
            crashes = await tx.dead_letters.note_crash(command_id, reason)
        return crashes >= CRASHES_MAX and await self._letters.park(command_id, reason=reason, actor=self._worker)


def _is_weather(error: Exception) -> bool:
    """Whether something that comes and goes failed, and not the command."""
    return is_database_away(error) or isinstance(error, RedisError | OSError)
