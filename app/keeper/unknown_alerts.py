"""Tells people of UNKNOWN orders, whether or not their broker can be read."""

from app.core.alerts import AlertKind, Severity
from app.infra.logging import get_logger
from app.repositories.leases import Lease
from app.repositories.settlements import UnknownOrder
from app.repositories.unit_of_work import UnitOfWork

BATCH = 200

log = get_logger(__name__)


class UnknownAlerts:
    """One turn opens an alert for each UNKNOWN order, and closes those of orders that are settled.

    Settling takes a while even where all is well, so only an order that is UNKNOWN for `overdue_s` after its `send_by`
    is critical.
    """

    def __init__(self, *, uow: UnitOfWork, lease: Lease, overdue_s: float) -> None:
        self._uow = uow
        self._lease = lease
        self._overdue_s = overdue_s

    async def turn(self) -> None:
        """Bring a batch of alerts in line. Raises `LeaseLost` when another keeper leads."""
        async with self._uow.statement() as tx:
            untold = await tx.settlements.untold_unknown(overdue_s=self._overdue_s, batch=BATCH)
            over = await tx.settlements.has_alerts_of_settled()
        if not untold and not over:
            return
        async with self._uow.fenced(self._lease) as tx:
            for order in untold:
                await tx.alerts.open(
                    AlertKind.ORDER_UNKNOWN,
                    str(order.order_id),
                    severity=Severity.CRITICAL if order.overdue else Severity.WARNING,
                    message=_message(order),
                    account_id=order.account_id,
                    order_id=order.order_id,
                )
            await tx.settlements.close_alerts_of_settled()
        for order in untold:
            if order.overdue:
                log.error("order.unknown.overdue", order_id=str(order.order_id))


def _message(order: UnknownOrder) -> str:
    if order.overdue:
        return "nobody knows whether the broker has this order, and its books do not tell: look there and resolve it"
    return "nobody knows yet whether the broker has this order: its books are being read"
