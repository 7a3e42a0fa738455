"""How a broker write can end. There are five ways, and "I do not know" is one of them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The broker took the order and gave it an id. It may still be rejected by the exchange later."""

    broker_order_id: str
    broker_unique_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The broker proved that it did not take the order. `code` is the broker's own."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """The request provably never took effect, so it may be sent again.

    `session_dead` is true when the broker turned it away because the session is over, `unreachable` when no
    connection to the broker could be had.
    """

    reason: str
    session_dead: bool = False
    unreachable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttled:
    """The broker turned the request away unread because of its rate limits."""

    reason: str
    retry_after_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ambiguous:
    """Nobody can say whether the order is live. Only the broker's books or a person may decide."""

    reason: str


PlaceOutcome = Accepted | Refused | NotSent | Throttled | Ambiguous
