"""One active process a role: the lease is taken, renewed and given up here; the work is somebody else's."""

import asyncio
from collections.abc import Awaitable, Callable

from app.core.ports import Clock
from app.infra.database import is_database_away
from app.infra.lifecycle import sleep_or_stop
from app.infra.logging import get_logger
from app.repositories.leases import Lease, LeaseLost
from app.repositories.unit_of_work import UnitOfWork

log = get_logger(__name__)


class Leadership:
    """Competes for a role's lease. Every write of the leader checks the lease again, inside its transaction."""

    def __init__(self, *, uow: UnitOfWork, clock: Clock, role: str, holder: str, ttl_s: float) -> None:
        self._uow = uow
        self._clock = clock
        self._role = role
        self._holder = holder
        self._ttl_s = ttl_s

    async def run(self, stop: asyncio.Event, lead: Callable[[Lease, asyncio.Event], Awaitable[None]]) -> None:
        """Stand by until the lease is free; then lead, until `stop` or until the lease is lost, again and again.

        `lead` is given the lease and an event that says when to end.
        """
        while not stop.is_set():
            lease = await self._acquire()
            if lease is None:
                await sleep_or_stop(stop, self._ttl_s / 4)
                continue
            log.info("leadership.taken", leads=self._role, epoch=lease.epoch)
            await self._lead_while_held(lease, stop, lead)
            log.info("leadership.ended", leads=self._role, epoch=lease.epoch)
            await self._release(lease)

    async def _lead_while_held(
        self, lease: Lease, stop: asyncio.Event, lead: Callable[[Lease, asyncio.Event], Awaitable[None]]
    ) -> None:
        over = asyncio.Event()
        renewing = asyncio.create_task(self._renew_until(lease, stop, over))
        try:
            await self._lead_or_lose(lease, over, lead)
        except Exception as error:
            if not _is_database_away(error):
                raise
            # What was half done in memory is forgotten: leading again starts from what is stored.
            log.warning("leadership.database_away", leads=self._role, epoch=lease.epoch)
        finally:
            over.set()
            await renewing

    async def _lead_or_lose(
        self, lease: Lease, over: asyncio.Event, lead: Callable[[Lease, asyncio.Event], Awaitable[None]]
    ) -> None:
        try:
            await lead(lease, over)
        except* LeaseLost:
            log.warning("leadership.lost", leads=self._role, epoch=lease.epoch)

    async def _renew_until(self, lease: Lease, stop: asyncio.Event, over: asyncio.Event) -> None:
        try:
            await self._renew(lease, stop, over)
        finally:
            # Also where renewing itself broke: nobody may lead on with a lease that is not renewed any more.
            over.set()

    async def _renew(self, lease: Lease, stop: asyncio.Event, over: asyncio.Event) -> None:
        held_until = self._clock.monotonic() + self._ttl_s
        while not stop.is_set() and not over.is_set():
            await sleep_or_stop(stop, self._ttl_s / 4)
            asked_at = self._clock.monotonic()
            try:
                async with self._uow.statement() as tx:
                    if not await tx.leases.renew(lease, ttl_s=self._ttl_s):
                        return
            except Exception as error:
                if not is_database_away(error):
                    raise
                if self._clock.monotonic() >= held_until:
                    return
                continue
            held_until = asked_at + self._ttl_s

    async def _acquire(self) -> Lease | None:
        try:
            async with self._uow.statement() as tx:
                return await tx.leases.acquire(role=self._role, holder=self._holder, ttl_s=self._ttl_s)
        except Exception as error:
            if not is_database_away(error):
                raise
            return None

    async def _release(self, lease: Lease) -> None:
        try:
            async with self._uow.statement() as tx:
                await tx.leases.release(lease)
        except Exception as error:
            if not is_database_away(error):
                raise


def _is_database_away(error: Exception) -> bool:
    """Whether an error, or every one of a group, says that the database is away."""
    if isinstance(error, ExceptionGroup):
        return all(_is_database_away(one) for one in error.exceptions)
    return is_database_away(error)
