"""Takes every end of a write call to one of the five outcomes. What no source settles stays ambiguous."""

from http import HTTPStatus

from app.brokers.angelone.envelope import (
    RATE_LIMIT_CODE,
    RETRY_AFTER_S,
    SESSION_DEAD_CODES,
    Envelope,
    is_rate_limit,
    open_envelope,
)
from app.brokers.angelone.values import Malformed, identifier, mapping, optional_identifier
from app.brokers.http import NoReply, Reply
from app.core.outcomes import Accepted, Ambiguous, NotSent, PlaceOutcome, Refused, Throttled

# Validation, permission and configuration: by their wording the order was turned down before it went anywhere.
# AB1004, AB1007, AB2000 and AB2001 are missing on purpose: their wording leaves it open.
PLACE_REFUSALS = frozenset({"AB1005", "AB1006", "AB1008", "AB1009", "AB1012", "AB2002", "AB4008", "AB4036", "AG8004"})
# An order that does not exist cannot be changed.
CHANGE_REFUSALS = PLACE_REFUSALS | {"AB1013"}


def write_outcome(reply: Reply | NoReply, *, refusals: frozenset[str] = PLACE_REFUSALS) -> PlaceOutcome:
    """Return how a place, modify or cancel call ended; never raises."""
    if isinstance(reply, NoReply):
        if reply.begun:
            return Ambiguous(reason=reply.reason)
        return NotSent(reason=reply.reason, unreachable=not reply.kept_back)
    if is_rate_limit(reply):
        return Throttled(reason="rate limit", retry_after_s=RETRY_AFTER_S)
    # A server that failed may have failed after it passed the order on, whatever its body says.
    if reply.status != HTTPStatus.OK and not _is_client_error(reply.status):
        return Ambiguous(reason=f"HTTP {reply.status}")
    try:
        envelope = open_envelope(reply.body)
        return _accepted(reply.status, envelope) if envelope.ok else _turned_down(envelope, refusals)
    except Malformed as exc:
        return Ambiguous(reason=f"HTTP {reply.status}: {exc}")


def _is_client_error(status: int) -> bool:
    return HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR


def _accepted(status: int, envelope: Envelope) -> PlaceOutcome:
    if status != HTTPStatus.OK or envelope.code:
        return Ambiguous(reason=f"HTTP {status} with a success inside: {envelope.said}")
    receipt = mapping(envelope.data, "data")
    return Accepted(
        broker_order_id=identifier(receipt, "orderid"),
        broker_unique_id=optional_identifier(receipt, "uniqueorderid"),
    )


def _turned_down(envelope: Envelope, refusals: frozenset[str]) -> PlaceOutcome:
    if isinstance(envelope.data, dict) and envelope.data.get("orderid"):
        return Ambiguous(reason=f"refused and yet with an order id: {envelope.said}")
    if envelope.code in SESSION_DEAD_CODES:
        return NotSent(reason=envelope.said, session_dead=True)
    if envelope.code == RATE_LIMIT_CODE:
        return Throttled(reason=envelope.said, retry_after_s=RETRY_AFTER_S)
    if envelope.code in refusals:
        return Refused(code=envelope.code, message=envelope.message)
    return Ambiguous(reason=envelope.said or "refused without a code")
