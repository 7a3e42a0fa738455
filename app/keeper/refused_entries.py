"""Parks entries that wait for a login that does not come: by policy they are not sent late, and a person is asked."""

from app.infra.logging import get_logger
from app.repositories.leases import Lease
from app.repositories.unit_of_work import UnitOfWork
from app.services.dead_letters import LOGGED_OUT_REASON, alert_parked

PARK_AFTER_S = 60.0
BATCH = 100

log = get_logger(__name__)


class RefusedEntries:
    """One turn parks a batch, and closes the alerts of commands that are parked no longer."""

    def __init__(self, *, uow: UnitOfWork, lease: Lease, after_s: float = PARK_AFTER_S) -> None:
        self._uow = uow
        self._lease = lease
        self._after_s = after_s

    async def turn(self) -> None:
        """Do so once. Raises `LeaseLost` when another keeper leads."""
        async with self._uow.fenced(self._lease) as tx:
            parked = await tx.dead_letters.park_logged_out(
                reason=LOGGED_OUT_REASON, after_s=self._after_s, batch=BATCH, actor="keeper"
            )
            await alert_parked(tx, parked, reason=LOGGED_OUT_REASON)
            await tx.dead_letters.close_alerts_of_gone()
        if parked:
            log.error("entries.parked", count=len(parked), reason=LOGGED_OUT_REASON)
