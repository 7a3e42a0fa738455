"""Tells of exits that wait: they are never refused, so somebody must hear when they do not get out."""

from app.core.alerts import AlertKind, Severity
from app.repositories.exits import WaitingExit
from app.repositories.leases import Lease
from app.repositories.unit_of_work import UnitOfWork

ALERT_AFTER_S = 10.0
BATCH = 100


class WaitingExits:
    """One turn opens an alert for each exit that waits too long, and closes those of exits that wait no more."""

    def __init__(self, *, uow: UnitOfWork, lease: Lease, after_s: float = ALERT_AFTER_S) -> None:
        self._uow = uow
        self._lease = lease
        self._after_s = after_s

    async def turn(self) -> None:
        """Do so once. Raises `LeaseLost` when another keeper leads."""
        async with self._uow.fenced(self._lease) as tx:
            await tx.exits.close_alerts_of_sent()
            for one in await tx.exits.waiting(after_s=self._after_s, batch=BATCH):
                await tx.alerts.open(
                    AlertKind.EXIT_WAITING,
                    str(one.order_id),
                    severity=Severity.CRITICAL,
                    message=_message(one),
                    account_id=one.account_id,
                    order_id=one.order_id,
                )


def _message(one: WaitingExit) -> str:
    why = ""
    if one.paused:
        why = ": the account is paused"
    elif one.logged_out:
        why = ": the account is not logged in at its broker"
    return (
        f"an exit ({one.side} {one.quantity}) of account {one.account} has waited since {one.since:%H:%M:%S} UTC{why}"
    )
