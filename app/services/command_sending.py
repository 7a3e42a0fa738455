"""One claimed command to the broker: what is asked for, and what each answer makes of the command."""

from datetime import datetime

from app.brokers.guarded import GuardedBroker, Permit
from app.core.commands import CommandKind, CommandState
from app.core.outcomes import Accepted, Ambiguous, NotSent, PlaceOutcome, Refused, Throttled
from app.core.ports import PlaceRequest
from app.core.transitions import OrderEvent
from app.infra.failpoints import Point, reach
from app.infra.logging import get_logger
from app.repositories.commands import Claim, Finding

log = get_logger(__name__)

_EVENTS: dict[CommandKind, dict[type[PlaceOutcome], OrderEvent]] = {
    CommandKind.PLACE: {
        Accepted: OrderEvent.ACCEPTED,
        Refused: OrderEvent.REFUSED,
        NotSent: OrderEvent.NOT_SENT,
        Throttled: OrderEvent.THROTTLED,
        Ambiguous: OrderEvent.AMBIGUOUS,
    },
    CommandKind.MODIFY: {
        Accepted: OrderEvent.MODIFIED,
        Refused: OrderEvent.MODIFY_REFUSED,
        NotSent: OrderEvent.MODIFY_NOT_SENT,
        Throttled: OrderEvent.MODIFY_NOT_SENT,
        Ambiguous: OrderEvent.MODIFY_UNKNOWN,
    },
    CommandKind.CANCEL: {
        Accepted: OrderEvent.CANCEL_ACCEPTED,
        Refused: OrderEvent.CANCEL_REFUSED,
        NotSent: OrderEvent.CANCEL_NOT_SENT,
        Throttled: OrderEvent.CANCEL_NOT_SENT,
        Ambiguous: OrderEvent.CANCEL_UNKNOWN,
    },
}


async def send(broker: GuardedBroker, permit: Permit, claim: Claim, deadline: float) -> PlaceOutcome:
    """Send a claimed command with one request; nothing is written past `deadline` (monotonic). Never raises."""
    reach(Point.WORKER_BEFORE_SEND)
    try:
        if claim.kind is CommandKind.CANCEL:
            return await broker.cancel(permit, _broker_id(claim), claim.order_type, deadline=deadline)
        request = _request(claim)
        if request is None:
            return Refused(code="no_broker_symbol", message="the broker has no symbol for this instrument")
        if claim.kind is CommandKind.MODIFY:
            return await broker.modify(permit, _broker_id(claim), request, deadline=deadline)
        return await broker.place(permit, request, deadline=deadline)
    except Exception as error:  # isolation point: whatever fails here may have failed after the write
        log.exception("order.command.crashed", kind=claim.kind, order_id=str(claim.order_id))
        return Ambiguous(reason=f"the adapter failed: {type(error).__name__}")


def finding_of(kind: CommandKind, outcome: PlaceOutcome, *, sent_at: datetime, answered_at: datetime) -> Finding:
    """Return what is to be recorded of a command that ended so."""
    event = _EVENTS[kind][type(outcome)]
    match outcome:
        case Accepted():
            return Finding(
                event=event,
                command_state=CommandState.DONE,
                broker_order_id=outcome.broker_order_id,
                broker_unique_id=outcome.broker_unique_id,
                sent_at=sent_at,
                acknowledged_at=answered_at,
            )
        case Refused():
            return Finding(
                event=event,
                command_state=CommandState.DONE,
                reason=f"{outcome.code}: {outcome.message}",
                sent_at=sent_at,
                acknowledged_at=answered_at,
            )
        case NotSent() | Throttled():
            return Finding(event=event, command_state=CommandState.PENDING, reason=outcome.reason)
        case Ambiguous():
            return Finding(event=event, command_state=CommandState.UNKNOWN, reason=outcome.reason, sent_at=sent_at)


def _request(claim: Claim) -> PlaceRequest | None:
    if claim.trading_symbol is None or claim.token is None:
        return None
    return PlaceRequest(
        exchange=claim.exchange,
        trading_symbol=claim.trading_symbol,
        token=claim.token,
        side=claim.side,
        quantity=claim.quantity,
        order_type=claim.order_type,
        product=claim.product,
        validity=claim.validity,
        price=claim.price,
        trigger_price=claim.trigger_price,
        tag=claim.tag,
    )


def _broker_id(claim: Claim) -> str:
    if claim.broker_order_id is None:
        raise LookupError(f"order {claim.order_id} has no broker order id to change it by")
    return claim.broker_order_id
