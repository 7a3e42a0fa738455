"""Fills into the books: each trade once, with its order and its position, in one transaction."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

from app.core.alerts import AlertKind, Severity
from app.core.errors import IllegalTransition
from app.core.fees import FeeSchedule, fill_fees, rates_on
from app.core.fills import Fill, FillKey
from app.core.orders import TERMINAL_STATUSES
from app.core.ports import BrokerTrade
from app.core.positions import Position, apply_fill, fold, is_late
from app.core.transitions import OrderEvent, next_status
from app.infra.ids import new_id
from app.infra.logging import get_logger
from app.infra.metrics import ORDERS_ENDED
from app.repositories.fills import FilledOrder, NewFill
from app.repositories.leases import Lease
from app.repositories.orders import LockedOrder
from app.repositories.positions import PositionKey
from app.repositories.unit_of_work import Transaction, UnitOfWork

BATCH = 200
"""Trades in one transaction: long enough to be fast, short enough to hold no lock for long."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became of a list of trades. `unmatched` belong to no order that we know by its broker id (yet)."""

    new: tuple[BrokerTrade, ...]
    unmatched: tuple[BrokerTrade, ...]


class FillRecorder:
    """Records trades from a broker's trade book."""

    def __init__(self, *, uow: UnitOfWork, fee_schedules: Sequence[FeeSchedule]) -> None:
        self._uow = uow
        self._fee_schedules = fee_schedules

    async def record(self, account_id: UUID, trades: Sequence[BrokerTrade], lease: Lease) -> Recorded:
        """Record those trades that are not known yet. Raises `LeaseLost` when another keeper leads."""
        new: list[BrokerTrade] = []
        unmatched: list[BrokerTrade] = []
        ordered = sorted(trades, key=lambda t: (t.traded_at, t.broker_order_id, t.trade_id.rjust(24, "0")))
        for start in range(0, len(ordered), BATCH):
            batch = ordered[start : start + BATCH]
            async with self._uow.fenced(lease) as tx:
                done, strange = await self._record_batch(tx, account_id, batch)
            new += done
            unmatched += strange
        return Recorded(new=tuple(new), unmatched=tuple(unmatched))

    async def _record_batch(
        self, tx: Transaction, account_id: UUID, trades: list[BrokerTrade]
    ) -> tuple[list[BrokerTrade], list[BrokerTrade]]:
        broker_ids = sorted({trade.broker_order_id for trade in trades})
        orders = {o.broker_order_id: o for o in await tx.orders.lock_by_broker_id(account_id, broker_ids)}
        unmatched = [trade for trade in trades if trade.broker_order_id not in orders]
        # Without the day: an order trades on one day only, and the rows of a book carry none. The day that they are
        # given here is the market's at the reading, so around midnight the same trade can come under two.
        known = await tx.fills.known_keys(account_id, [order.id for order in orders.values()])
        # By key, because a broker's book may name a trade twice.
        by_key = {_trade_key(trade): trade for trade in trades if trade.broker_order_id in orders}
        fresh = [trade for key, trade in by_key.items() if key not in known]
        if not fresh:
            return [], unmatched
        turnovers = await tx.fills.turnovers([order.id for order in orders.values()])
        fills: list[NewFill] = []
        by_order: dict[UUID, list[Fill]] = defaultdict(list)
        for trade in fresh:
            order = orders[trade.broker_order_id]
            quantity, turnover = turnovers.get(order.id, (0, Decimal(0)))
            fill = self._fill(account_id, order, trade, turnover_before=turnover)
            turnovers[order.id] = (quantity + fill.quantity, turnover + fill.turnover)
            by_order[order.id].append(fill)
            fills.append(_new_fill(order, fill))
        await tx.fills.add(fills)
        locked = {order.id: order for order in orders.values()}
        filled = [_filled(locked[order_id], own, turnovers[order_id]) for order_id, own in by_order.items()]
        await tx.fills.fill_orders(filled)
        for one in filled:
            if one.done and locked[one.order_id].status not in TERMINAL_STATUSES:
                ORDERS_ENDED.labels(one.status.value).inc()
        for order_id in by_order:
            if turnovers[order_id][0] > locked[order_id].quantity:
                await _tell_overfilled(tx, locked[order_id], traded=turnovers[order_id][0])
        await self._move_positions(tx, account_id, fills)
        return fresh, unmatched

    def _fill(self, account_id: UUID, order: LockedOrder, trade: BrokerTrade, *, turnover_before: Decimal) -> Fill:
        key = FillKey(
            account_id=account_id,
            exchange=trade.exchange,
            trade_date=trade.trade_date,
            broker_order_id=trade.broker_order_id,
            trade_id=trade.trade_id,
        )
        fill = Fill(key=key, side=trade.side, quantity=trade.quantity, price=trade.price, traded_at=trade.traded_at)
        rates = rates_on(self._fee_schedules, day=trade.trade_date, product=order.product)
        fees = fill_fees(rates, side=trade.side, turnover_before=turnover_before, turnover=fill.turnover)
        return replace(fill, fees=fees)

    async def _move_positions(self, tx: Transaction, account_id: UUID, fills: list[NewFill]) -> None:
        held = await tx.positions.lock(account_id)
        by_key: dict[PositionKey, list[Fill]] = defaultdict(list)
        for new in fills:
            by_key[PositionKey(account_id, new.strategy_id, new.instrument_id, new.product)].append(new.fill)
        changed: list[tuple[UUID, PositionKey, Position]] = []
        for key, own in by_key.items():
            position = held.get(key, Position())
            if any(is_late(position, fill) for fill in own):
                # A fill belongs before one that was counted already: fold the whole set anew.
                position = fold(
                    await tx.fills.of_position(
                        account_id,
                        strategy_id=key.strategy_id,
                        instrument_id=key.instrument_id,
                        product=key.product,
                    )
                )
            else:
                for fill in sorted(own, key=lambda f: f.sort_key):
                    position = apply_fill(position, fill)
            changed.append((new_id(), key, position))
        await tx.positions.save(changed)


async def _tell_overfilled(tx: Transaction, order: LockedOrder, *, traded: int) -> None:
    log.error("order.overfilled", order_id=str(order.id), ordered=order.quantity, traded=traded)
    await tx.alerts.open(
        AlertKind.ORDER_OVERFILLED,
        str(order.id),
        severity=Severity.CRITICAL,
        message=f"{traded} units of an order of {order.quantity} have traded",
        account_id=order.account_id,
        order_id=order.id,
    )


def _trade_key(trade: BrokerTrade) -> tuple[str, str, str]:
    return (trade.exchange.value, trade.broker_order_id, trade.trade_id)


def _new_fill(order: LockedOrder, fill: Fill) -> NewFill:
    return NewFill(
        id=new_id(),
        fill=fill,
        order_id=order.id,
        strategy_id=order.strategy_id,
        instrument_id=order.instrument_id,
        product=order.product,
    )


def _filled(order: LockedOrder, fills: list[Fill], traded: tuple[int, Decimal]) -> FilledOrder:
    quantity, turnover = traded
    event = OrderEvent.FULL_FILL if quantity >= order.quantity else OrderEvent.PARTIAL_FILL
    try:
        status = next_status(order.status, event)
    except IllegalTransition:
        # The trade is real whatever the table says: it counts, and someone must look at the order.
        log.exception("order.fill.unexpected", order_id=str(order.id), status=order.status)
        status = order.status
    detail = {
        "quantity": str(sum(fill.quantity for fill in fills)),
        "price": str(fills[-1].price),
        "trades": ",".join(fill.key.trade_id for fill in fills),
    }
    return FilledOrder(
        order_id=order.id,
        event=event,
        status=status,
        filled_quantity=quantity,
        average_price=(turnover / quantity).quantize(Decimal("0.000001")),
        done=status in TERMINAL_STATUSES,
        detail=json.dumps(detail),
    )
