"""What a wish to cancel or change an order means in each state of it. Pure: the caller holds the order locked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from app.core.commands import CommandKind, CommandState, OrderTerms
from app.core.errors import InvalidOrder, OrderRefused
from app.core.instruments import Instrument
from app.core.order_rules import check_intent
from app.core.orders import TERMINAL_STATUSES, Order, OrderStatus, OrderType, Purpose

_IN_FLIGHT = frozenset({OrderStatus.SUBMITTING, OrderStatus.UNKNOWN})

_SENT = frozenset({CommandState.SUBMITTING, CommandState.UNKNOWN})

OpenChanges = Mapping[CommandKind, CommandState]
"""The modify and cancel of an order that are not DONE: there is at most one of each."""


class CancelStep(StrEnum):
    """What a cancel does now.

    END_UNSENT: the order never reached the broker and ends here. HOLD: nobody knows yet whether it is there. SEND: it
    rests there. UNDER_WAY: a cancel is on its way already. OVER: nothing is left to cancel.
    """

    END_UNSENT = "END_UNSENT"
    HOLD = "HOLD"
    SEND = "SEND"
    UNDER_WAY = "UNDER_WAY"
    OVER = "OVER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which terms are to change; None leaves a term as it is. Prices in rupees, quantity is the new total."""

    quantity: int | None = None
    order_type: OrderType | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None


def cancel_step(status: OrderStatus, changes: OpenChanges) -> CancelStep:
    """Return what a cancel of an order in this state does. A parked cancel is over: the new one takes its place.

    An order of which all has traded is not over while nobody knows the end of a change, for that may have raised it.
    """
    may_be_raised = status is OrderStatus.COMPLETE and changes.get(CommandKind.MODIFY) in _SENT
    if status in TERMINAL_STATUSES and not may_be_raised:
        return CancelStep.OVER
    if status is OrderStatus.PENDING:
        return CancelStep.END_UNSENT
    if changes.get(CommandKind.CANCEL, CommandState.PARKED) is not CommandState.PARKED:
        return CancelStep.UNDER_WAY
    return CancelStep.HOLD if status in _IN_FLIGHT else CancelStep.SEND


def new_terms(order: Order, wanted: Wanted, *, instrument: Instrument, changes: OpenChanges) -> OrderTerms:
    """Return the terms that the order is to have, whole.

    Raises `InvalidOrder` for terms that can never be right, `OrderRefused` where the order's state does not let it
    change: order_over, order_in_flight, change_in_flight, exit_cannot_grow.
    """
    if order.status in TERMINAL_STATUSES:
        raise OrderRefused(code="order_over", message=f"the order is {order.status}: nothing of it can be changed")
    if changes:
        kinds = " and a ".join(sorted(kind.lower() for kind in changes))
        raise OrderRefused(code="change_in_flight", message=f"a {kinds} of this order is under way: wait for its end")
    if order.status in _IN_FLIGHT:
        raise OrderRefused(
            code="order_in_flight", message=f"the order is {order.status}: it is not known yet whether it is placed"
        )
    terms = _merged(order, wanted)
    _check(order, terms, instrument)
    return terms


def _merged(order: Order, wanted: Wanted) -> OrderTerms:
    before = order.intent
    kind = wanted.order_type or before.order_type
    price = before.price if kind.has_limit_price else None
    trigger = before.trigger_price if kind.has_trigger else None
    return OrderTerms(
        quantity=before.quantity if wanted.quantity is None else wanted.quantity,
        order_type=kind,
        price=price if wanted.price is None else wanted.price,
        trigger_price=trigger if wanted.trigger_price is None else wanted.trigger_price,
    )


def _check(order: Order, terms: OrderTerms, instrument: Instrument) -> None:
    before = order.intent
    changed = replace(
        before,
        quantity=terms.quantity,
        order_type=terms.order_type,
        price=terms.price,
        trigger_price=terms.trigger_price,
    )
    check_intent(changed, instrument)
    if terms.quantity <= order.filled_quantity:
        raise InvalidOrder(
            field="quantity",
            code="quantity_not_above_filled",
            message=f"{order.filled_quantity} have traded: quantity is the new total and must be above that",
        )
    if changed == before:
        raise InvalidOrder(field="body", code="nothing_to_change", message="the order has these terms already")
    if before.purpose is Purpose.EXIT and terms.quantity > before.quantity:
        raise OrderRefused(
            code="exit_cannot_grow", message="an exit was measured by its position: place another one for more"
        )
