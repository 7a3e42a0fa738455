"""Tells people that an account's circuit breaker opened or closed."""

from app.brokers.breaker import BreakerChange
from app.core.accounts import Account
from app.core.alerts import AlertKind, Severity
from app.infra.logging import get_logger
from app.repositories.unit_of_work import UnitOfWork

log = get_logger(__name__)


class BreakerAlerts:
    """Listens to the breaker of one account. Hearing of the same change again does no harm."""

    def __init__(self, uow: UnitOfWork, account: Account) -> None:
        self._uow = uow
        self._account = account

    async def note(self, change: BreakerChange) -> None:
        """Open or close the alert; raises what the database raises."""
        name = self._account.name
        async with self._uow.transaction() as tx:
            if change is BreakerChange.OPENED:
                new = await tx.alerts.open(
                    AlertKind.BREAKER_OPEN,
                    name,
                    severity=Severity.CRITICAL,
                    message=f"the broker of {name} fails or is slow: its orders wait for a probe to get through",
                    account_id=self._account.id,
                )
            else:
                new = await tx.alerts.close(AlertKind.BREAKER_OPEN, name)
        if new:
            log.warning("broker.breaker.changed", account=name, change=change.value)
