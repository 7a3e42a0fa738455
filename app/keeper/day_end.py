"""Ends the orders of a trading day that is over, tells what was not closed, and stores how each account stood."""

from collections import defaultdict
from datetime import date
from decimal import Decimal

from app.core.alerts import AlertKind, Severity
from app.core.balances import PriceDoubt
from app.core.reconciliations import ReconciliationCause
from app.infra.logging import get_logger
from app.infra.metrics import DUTY_ITEMS, ORDERS_ENDED
from app.repositories.balances import BalanceSnapshot
from app.repositories.leases import Lease
from app.repositories.order_endings import EndedDay, EndedOrder, UnsettledOrder, UnsnappedDay
from app.repositories.unit_of_work import Transaction, UnitOfWork
from app.services.balances import AccountBalance, Balances

BATCH = 500
REPLAY_REST_S = 60.0
"""How long after a replay's end its open orders are left alone: its last answers and fills may still come in."""

NAMED_MAX = 20
"""Orders that an alert names."""

log = get_logger(__name__)


class DayEnd:
    """One turn ends what days and replays left open, and stores the balances of days that are over, once each."""

    def __init__(
        self, *, uow: UnitOfWork, balances: Balances, lease: Lease, replay_rest_s: float = REPLAY_REST_S
    ) -> None:
        self._uow = uow
        self._balances = balances
        self._lease = lease
        self._replay_rest_s = replay_rest_s

    async def turn(self) -> None:
        """Do what is due. Raises `LeaseLost` when another keeper leads."""
        async with self._uow.statement() as tx:
            days = await tx.order_endings.ended_days(replay_rest_s=self._replay_rest_s)
            unsnapped = await tx.order_endings.unsnapped_days(replay_rest_s=self._replay_rest_s, batch=BATCH)
        for day in days:
            await self._end(day)
        for day_of_account in unsnapped:
            await self._snap(day_of_account)

    async def _end(self, day: EndedDay) -> None:
        async with self._uow.fenced(self._lease) as tx:
            ended = await tx.order_endings.end_day(day, batch=BATCH)
            unproven: dict[date, list[EndedOrder]] = defaultdict(list)
            for order in ended:
                if not order.proven:
                    unproven[order.trading_day].append(order)
            for trading_day, orders in unproven.items():
                await _alert_not_closed(tx, day, trading_day, orders)
            for unsettled in await tx.order_endings.unsettled(day, batch=BATCH):
                await _alert_unsettled(tx, day, unsettled)
        DUTY_ITEMS.labels("day_end").inc(len(ended))
        ORDERS_ENDED.labels("EXPIRED").inc(len(ended))
        if ended:
            log.info("day_end.expired", account=day.account, orders=len(ended))

    async def _snap(self, day: UnsnappedDay) -> None:
        found = await self._balances.page(account_id=day.account_id)
        async with self._uow.fenced(self._lease) as tx:
            stored = False
            for balance in found:
                if balance.cash is not None:
                    stored = await tx.balances.add_snapshot(_snapshot(day, balance, balance.cash))
            if stored and day.active:
                await tx.reconciliations.request(day.account_id, ReconciliationCause.DAY_END)


async def _alert_not_closed(tx: Transaction, day: EndedDay, trading_day: date, orders: list[EndedOrder]) -> None:
    names = ", ".join(str(order.order_id) for order in orders[:NAMED_MAX])
    more = f" and {len(orders) - NAMED_MAX} more" if len(orders) > NAMED_MAX else ""
    await tx.alerts.open(
        AlertKind.DAY_NOT_CLOSED,
        f"{day.account} {trading_day}",
        severity=Severity.WARNING,
        message=(
            f"{trading_day} ended without its closing order book having been read after the last change of "
            f"{len(orders)} orders: {names}{more}. They are EXPIRED here; see at the broker what they traded last"
        ),
        account_id=day.account_id,
    )


async def _alert_unsettled(tx: Transaction, day: EndedDay, order: UnsettledOrder) -> None:
    await tx.alerts.open(
        AlertKind.ORDER_UNKNOWN,
        str(order.order_id),
        severity=Severity.CRITICAL,
        message=(
            f"its trading day {order.trading_day} ended, and nobody knows whether the broker has this order: "
            "the books of later days cannot tell, a person must"
        ),
        account_id=day.account_id,
        order_id=order.order_id,
    )


def _snapshot(day: UnsnappedDay, balance: AccountBalance, cash: Decimal) -> BalanceSnapshot:
    figures = balance.figures
    return BalanceSnapshot(
        account_id=day.account_id,
        trading_day=day.trading_day,
        cash=cash,
        realized_pnl=figures.realized_pnl,
        unrealized_pnl=None if isinstance(figures.unrealized_pnl, PriceDoubt) else figures.unrealized_pnl,
        fees=figures.fees,
        broker_cash=balance.ledger.broker_cash,
    )
