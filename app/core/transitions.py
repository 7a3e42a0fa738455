"""The one table of order status changes. Nothing else may decide what follows a status.

Rows that look odd carry a remark: brokers answer late, fills overtake answers, and cancels lose races.
The diagram in docs/architecture.md is made from this table.
"""

from dataclasses import dataclass
from enum import StrEnum

from app.core.errors import IllegalTransition
from app.core.orders import OrderStatus


class OrderEvent(StrEnum):
    """What can happen to a saved order."""

    CREATED = "CREATED"
    CLAIMED = "CLAIMED"
    ACCEPTED = "ACCEPTED"
    REFUSED = "REFUSED"
    NOT_SENT = "NOT_SENT"
    THROTTLED = "THROTTLED"
    AMBIGUOUS = "AMBIGUOUS"
    CLAIM_DIED = "CLAIM_DIED"
    DEADLINE_PASSED = "DEADLINE_PASSED"
    PARTIAL_FILL = "PARTIAL_FILL"
    FULL_FILL = "FULL_FILL"
    BROKER_REJECTED = "BROKER_REJECTED"
    BROKER_CANCELLED = "BROKER_CANCELLED"
    PROVEN_ABSENT = "PROVEN_ABSENT"
    CANCELLED_UNSENT = "CANCELLED_UNSENT"
    DAY_ENDED = "DAY_ENDED"
    MODIFIED = "MODIFIED"
    RAISED = "RAISED"
    LOWERED = "LOWERED"
    RESOLVED_PLACED = "RESOLVED_PLACED"
    RESOLVED_ABSENT = "RESOLVED_ABSENT"
    RESOLVED_RESEND = "RESOLVED_RESEND"
    # Notes: recorded with the status as it is. They tell of commands, and of what is not a change of status.
    DISCOVERED = "DISCOVERED"
    MODIFY_REQUESTED = "MODIFY_REQUESTED"
    MODIFY_CLAIMED = "MODIFY_CLAIMED"
    MODIFY_REFUSED = "MODIFY_REFUSED"
    MODIFY_NOT_SENT = "MODIFY_NOT_SENT"
    MODIFY_UNKNOWN = "MODIFY_UNKNOWN"
    MODIFY_ABSENT = "MODIFY_ABSENT"
    MODIFY_DROPPED = "MODIFY_DROPPED"
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    CANCEL_CLAIMED = "CANCEL_CLAIMED"
    CANCEL_ACCEPTED = "CANCEL_ACCEPTED"
    CANCEL_REFUSED = "CANCEL_REFUSED"
    CANCEL_NOT_SENT = "CANCEL_NOT_SENT"
    CANCEL_UNKNOWN = "CANCEL_UNKNOWN"
    CANCEL_DROPPED = "CANCEL_DROPPED"
    PARKED = "PARKED"
    REQUEUED = "REQUEUED"
    STATUS_UNRECOGNISED = "STATUS_UNRECOGNISED"


NOTES = frozenset(
    {
        OrderEvent.DISCOVERED,
        OrderEvent.MODIFY_REQUESTED,
        OrderEvent.MODIFY_CLAIMED,
        OrderEvent.MODIFY_REFUSED,
        OrderEvent.MODIFY_NOT_SENT,
        OrderEvent.MODIFY_UNKNOWN,
        OrderEvent.MODIFY_ABSENT,
        OrderEvent.MODIFY_DROPPED,
        OrderEvent.CANCEL_REQUESTED,
        OrderEvent.CANCEL_CLAIMED,
        OrderEvent.CANCEL_ACCEPTED,
        OrderEvent.CANCEL_REFUSED,
        OrderEvent.CANCEL_NOT_SENT,
        OrderEvent.CANCEL_UNKNOWN,
        OrderEvent.CANCEL_DROPPED,
        OrderEvent.PARKED,
        OrderEvent.REQUEUED,
        OrderEvent.STATUS_UNRECOGNISED,
    }
)
"""Events that never change a status, so that the table has no row for them."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One row: in `status`, on `event`, the order becomes `to`."""

    status: OrderStatus
    event: OrderEvent
    to: OrderStatus
    remark: str = ""


_S = OrderStatus
_E = OrderEvent

TRANSITIONS: tuple[Transition, ...] = (
    Transition(_S.PENDING, _E.CLAIMED, _S.SUBMITTING),
    Transition(_S.PENDING, _E.DEADLINE_PASSED, _S.EXPIRED, "seen at the claim: it never reached the broker"),
    Transition(_S.PENDING, _E.ACCEPTED, _S.PLACED, "its tag is at the broker although we were told it never got there"),
    # The claim's own answers.
    Transition(_S.SUBMITTING, _E.ACCEPTED, _S.PLACED),
    Transition(_S.SUBMITTING, _E.REFUSED, _S.REJECTED),
    Transition(_S.SUBMITTING, _E.NOT_SENT, _S.PENDING, "provably never left: may be sent again"),
    Transition(_S.SUBMITTING, _E.THROTTLED, _S.PENDING, "the broker turned it away unread: may be sent again"),
    Transition(_S.SUBMITTING, _E.AMBIGUOUS, _S.UNKNOWN),
    Transition(_S.SUBMITTING, _E.CLAIM_DIED, _S.UNKNOWN, "past send_by: nobody can say whether it was sent"),
    # Late but first-hand evidence about an order that was given up as unknown.
    Transition(_S.UNKNOWN, _E.ACCEPTED, _S.PLACED, "the broker's answer or a row with our tag arrived late"),
    Transition(_S.UNKNOWN, _E.REFUSED, _S.REJECTED, "the broker's own refusal of this attempt arrived late"),
    Transition(_S.UNKNOWN, _E.NOT_SENT, _S.PENDING, "the claim's only holder proved that it never wrote"),
    Transition(_S.UNKNOWN, _E.THROTTLED, _S.PENDING, "the broker's own answer to this attempt arrived late"),
    # The placement answer comes after a fill, cancel or reject was seen on the order socket.
    Transition(_S.PLACED, _E.ACCEPTED, _S.PLACED, "the order socket was quicker than the answer"),
    Transition(_S.PARTIALLY_FILLED, _E.ACCEPTED, _S.PARTIALLY_FILLED, "a fill overtook the answer"),
    Transition(_S.COMPLETE, _E.ACCEPTED, _S.COMPLETE, "the last fill overtook the answer"),
    Transition(_S.CANCELLED, _E.ACCEPTED, _S.CANCELLED, "a cancel overtook the answer"),
    Transition(_S.REJECTED, _E.ACCEPTED, _S.REJECTED, "an exchange reject overtook the broker's receipt"),
    # A claim given up or answered ambiguously after the socket had already told the truth.
    Transition(_S.PLACED, _E.AMBIGUOUS, _S.PLACED, "the answer was lost, the order socket was not"),
    Transition(_S.PARTIALLY_FILLED, _E.AMBIGUOUS, _S.PARTIALLY_FILLED, "the answer was lost, its fills were not"),
    Transition(_S.COMPLETE, _E.AMBIGUOUS, _S.COMPLETE, "the answer was lost, its fills were not"),
    Transition(_S.CANCELLED, _E.AMBIGUOUS, _S.CANCELLED, "the answer was lost, the cancel was seen"),
    Transition(_S.REJECTED, _E.AMBIGUOUS, _S.REJECTED, "the answer was lost, the reject was seen"),
    Transition(_S.UNKNOWN, _E.AMBIGUOUS, _S.UNKNOWN, "the claim was given up before its ambiguous end came in"),
    # Fills.
    Transition(_S.PLACED, _E.PARTIAL_FILL, _S.PARTIALLY_FILLED),
    Transition(_S.PLACED, _E.FULL_FILL, _S.COMPLETE),
    Transition(_S.PARTIALLY_FILLED, _E.PARTIAL_FILL, _S.PARTIALLY_FILLED),
    Transition(_S.PARTIALLY_FILLED, _E.FULL_FILL, _S.COMPLETE),
    Transition(_S.SUBMITTING, _E.PARTIAL_FILL, _S.PARTIALLY_FILLED, "a fill before the placement answer"),
    Transition(_S.SUBMITTING, _E.FULL_FILL, _S.COMPLETE, "a fill before the placement answer"),
    Transition(_S.UNKNOWN, _E.PARTIAL_FILL, _S.PARTIALLY_FILLED, "a fill is evidence that it was placed"),
    Transition(_S.UNKNOWN, _E.FULL_FILL, _S.COMPLETE, "a fill is evidence that it was placed"),
    Transition(_S.CANCELLED, _E.PARTIAL_FILL, _S.CANCELLED, "traded before the cancel, reported after it"),
    Transition(_S.CANCELLED, _E.FULL_FILL, _S.COMPLETE, "the cancel lost the race against the last fill"),
    Transition(_S.REJECTED, _E.PARTIAL_FILL, _S.PARTIALLY_FILLED, "a trade outweighs a reject message"),
    Transition(_S.REJECTED, _E.FULL_FILL, _S.COMPLETE, "a trade outweighs a reject message"),
    Transition(_S.EXPIRED, _E.PARTIAL_FILL, _S.EXPIRED, "traded before the close, reported after it"),
    Transition(_S.EXPIRED, _E.FULL_FILL, _S.COMPLETE, "traded before the close, reported after it"),
    Transition(_S.COMPLETE, _E.FULL_FILL, _S.COMPLETE, "more traded than was ordered: counted, and alarming"),
    # The broker's or exchange's own end of the order.
    Transition(_S.PLACED, _E.BROKER_REJECTED, _S.REJECTED, "a receipt is not an acceptance by the exchange"),
    Transition(_S.SUBMITTING, _E.BROKER_REJECTED, _S.REJECTED, "the reject overtook the placement answer"),
    Transition(_S.UNKNOWN, _E.BROKER_REJECTED, _S.REJECTED, "the broker's book shows our tag as rejected"),
    Transition(_S.PARTIALLY_FILLED, _E.BROKER_REJECTED, _S.CANCELLED, "only the remainder can be refused"),
    Transition(_S.PLACED, _E.BROKER_CANCELLED, _S.CANCELLED),
    Transition(_S.PARTIALLY_FILLED, _E.BROKER_CANCELLED, _S.CANCELLED, "what traded stays traded"),
    Transition(_S.SUBMITTING, _E.BROKER_CANCELLED, _S.CANCELLED, "an IOC can end before its answer arrives"),
    Transition(_S.UNKNOWN, _E.BROKER_CANCELLED, _S.CANCELLED, "the broker's book shows our tag as cancelled"),
    # What settles an UNKNOWN order beside a row of ours: proof that it is not there, or a person.
    Transition(
        _S.UNKNOWN, _E.PROVEN_ABSENT, _S.PENDING, "complete later reads of the book have no row that could be it"
    ),
    Transition(_S.UNKNOWN, _E.RESOLVED_PLACED, _S.PLACED, "a person named the broker's order"),
    Transition(_S.UNKNOWN, _E.RESOLVED_ABSENT, _S.CANCELLED, "a person made sure that the broker does not have it"),
    Transition(_S.UNKNOWN, _E.RESOLVED_RESEND, _S.PENDING, "a person made sure that it is absent, and wants it sent"),
    # Ends that need no broker.
    Transition(
        _S.PENDING, _E.CANCELLED_UNSENT, _S.CANCELLED, "cancelled before it was sent: it never reaches the broker"
    ),
    Transition(_S.PENDING, _E.DAY_ENDED, _S.EXPIRED, "the trading day ended before it was sent"),
    Transition(_S.PLACED, _E.DAY_ENDED, _S.EXPIRED, "brokers have no word for it: derived from the end of the day"),
    Transition(_S.PARTIALLY_FILLED, _E.DAY_ENDED, _S.EXPIRED, "what traded stays traded"),
    # Changes of a resting order.
    Transition(_S.PENDING, _E.MODIFIED, _S.PENDING, "changed before it was sent"),
    Transition(_S.PLACED, _E.MODIFIED, _S.PLACED, "it rests on, under new terms"),
    Transition(_S.PARTIALLY_FILLED, _E.MODIFIED, _S.PARTIALLY_FILLED),
    Transition(_S.COMPLETE, _E.MODIFIED, _S.COMPLETE, "the fills overtook the answer to the change"),
    Transition(_S.CANCELLED, _E.MODIFIED, _S.CANCELLED, "a cancel overtook the answer to the change"),
    Transition(_S.REJECTED, _E.MODIFIED, _S.REJECTED, "a reject overtook the answer to the change"),
    Transition(_S.EXPIRED, _E.MODIFIED, _S.EXPIRED, "the day's end overtook the answer to the change"),
    Transition(_S.COMPLETE, _E.RAISED, _S.PARTIALLY_FILLED, "more was ordered before the last fill was counted"),
    Transition(_S.PARTIALLY_FILLED, _E.LOWERED, _S.COMPLETE, "what traded is all that is still ordered"),
)

_TABLE = {(row.status, row.event): row for row in TRANSITIONS}


def next_status(status: OrderStatus, event: OrderEvent) -> OrderStatus:
    """Return the status that follows, or raise `IllegalTransition`."""
    row = _TABLE.get((status, event))
    if row is None:
        raise IllegalTransition(status=status, event=event)
    return row.to


def remark(status: OrderStatus, event: OrderEvent) -> str:
    """Return why an odd row is legal; empty for the ordinary ones."""
    row = _TABLE.get((status, event))
    return row.remark if row else ""


def sources(event: OrderEvent) -> dict[OrderStatus, OrderStatus]:
    """Return every status in which `event` is legal, with the status that follows."""
    return {row.status: row.to for row in TRANSITIONS if row.event is event}


def mermaid() -> str:
    """Return the table as a Mermaid state diagram, for the documentation."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for row in TRANSITIONS:
        if row.status is not row.to:
            arrows.setdefault((row.status.value, row.to.value), []).append(row.event.value)
    lines = [f"  {start} --> {end}: {', '.join(events)}" for (start, end), events in arrows.items()]
    return "\n".join(["stateDiagram-v2", "  [*] --> PENDING", *lines])
