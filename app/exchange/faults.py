"""Fault knobs: what the exchange does wrong on purpose, drawn from a seed and a counter so that it can be repeated."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

RULES_MAX = 50
DELAY_MS_MAX = 120_000
DURATION_MS_MAX = 600_000


class FaultKind(StrEnum):
    """What can go wrong. `*_after_accept` and `malformed_body` take the request and spoil only the answer.

    `odd_body` answers rightly in another dress: more fields, numbers instead of strings. `lagging_book` leaves out what
    is younger than its delay, `unknown_status` gives one order a status text that nobody has heard of.
    """

    LATENCY = "latency"
    HTTP_5XX = "http_5xx"
    HTTP_5XX_AFTER_ACCEPT = "http_5xx_after_accept"
    TIMEOUT_AFTER_ACCEPT = "timeout_after_accept"
    DROP_AFTER_ACCEPT = "drop_after_accept"
    DROP_BEFORE_ACCEPT = "drop_before_accept"
    THROTTLE_403 = "throttle_403"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105  a name, not a secret
    MALFORMED_BODY = "malformed_body"
    ODD_BODY = "odd_body"
    LAGGING_BOOK = "lagging_book"
    UNKNOWN_STATUS = "unknown_status"
    DROP_UPDATE = "drop_update"
    DROP_FILL_UPDATE = "drop_fill_update"
    DUPLICATE_UPDATE = "duplicate_update"
    DELAY_UPDATE = "delay_update"
    REORDER_UPDATE = "reorder_update"


SWALLOWS_ANSWER = frozenset(
    {
        FaultKind.HTTP_5XX_AFTER_ACCEPT,
        FaultKind.TIMEOUT_AFTER_ACCEPT,
        FaultKind.DROP_AFTER_ACCEPT,
        FaultKind.MALFORMED_BODY,
    }
)


class Op(StrEnum):
    """What a request wants, as far as fault rules tell requests apart. `books` stands for all reads but quotes."""

    PLACE = "place"
    MODIFY = "modify"
    CANCEL = "cancel"
    BOOKS = "books"
    ORDER_BOOK = "order_book"
    ORDER_DETAILS = "order_details"
    TRADE_BOOK = "trade_book"
    POSITIONS = "positions"
    FUNDS = "funds"
    QUOTE = "quote"
    LOGIN = "login"
    SOCKET = "socket"
    POSTBACK = "postback"
    ANY = "any"


_BOOKS = frozenset({Op.BOOKS, Op.ORDER_BOOK, Op.ORDER_DETAILS, Op.TRADE_BOOK, Op.POSITIONS, Op.FUNDS})
_FRAME_KINDS = frozenset(
    {
        FaultKind.UNKNOWN_STATUS,
        FaultKind.DROP_UPDATE,
        FaultKind.DROP_FILL_UPDATE,
        FaultKind.DUPLICATE_UPDATE,
        FaultKind.DELAY_UPDATE,
        FaultKind.REORDER_UPDATE,
    }
)
_REQUEST_KINDS = (frozenset(FaultKind) - _FRAME_KINDS) | {FaultKind.UNKNOWN_STATUS}
_REQUESTS_OF = {
    FaultKind.LAGGING_BOOK: frozenset({Op.ORDER_BOOK, Op.TRADE_BOOK}),
    FaultKind.UNKNOWN_STATUS: frozenset({Op.ORDER_BOOK, Op.ORDER_DETAILS}),
    FaultKind.ODD_BODY: frozenset(Op) - {Op.SOCKET},
    FaultKind.MALFORMED_BODY: frozenset(Op) - {Op.SOCKET},
}
"""Kinds that only some requests can suffer; the others pass them by, so that they do not count as fired."""


@dataclass(slots=True, kw_only=True)
class FaultRule:
    """One knob. `fired` counts how often it took effect; after `limit` strikes it rests.

    With a duration one strike is a storm: every request that the rule covers suffers until it is over.
    """

    kind: FaultKind
    probability: float
    ops: frozenset[Op]
    delay_ms: int = 0
    duration_ms: int = 0
    limit: int | None = None
    fired: int = 0
    strikes: int = 0
    storm_until: float = 0.0

    def covers(self, op: Op) -> bool:
        """Whether the rule speaks of such requests."""
        return op in self.ops or Op.ANY in self.ops or (op in _BOOKS and Op.BOOKS in self.ops)

    @property
    def is_spent(self) -> bool:
        """Whether the rule has struck as often as it may."""
        return self.limit is not None and self.strikes >= self.limit


@dataclass(frozen=True, slots=True)
class Strike:
    """One effect of a rule on one request or update. `number` chooses among variants of the same fault."""

    kind: FaultKind
    delay_ms: int
    number: int

    @property
    def delay_s(self) -> float:
        """The delay in seconds."""
        return self.delay_ms / 1000


class Faults:
    """The rules in force. They live in memory only: a restarted exchange is a healthy one."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.seed = 0
        self.rules: list[FaultRule] = []
        self._monotonic = monotonic
        self._requests = 0
        self._frames = 0

    def configure(self, seed: int, rules: list[FaultRule]) -> None:
        """Replace all rules and start the counters anew."""
        self.seed, self.rules = seed, rules
        self._requests = self._frames = 0

    def for_request(self, op: Op) -> Strike | None:
        """Return what the first rule that fires does to this request, or None."""
        if not self.rules:
            return None
        self._requests += 1

        def suits(rule: FaultRule) -> bool:
            return rule.kind in _REQUEST_KINDS and rule.covers(op) and op in _REQUESTS_OF.get(rule.kind, (op,))

        return self._draw(f"request:{self._requests}", suits)

    def for_frame(self, op: Op, *, is_fill: bool) -> Strike | None:
        """Return what the first rule that fires does to this order update, on the socket or as a postback, or None."""
        if not self.rules:
            return None
        self._frames += 1

        def suits(rule: FaultRule) -> bool:
            told = is_fill or rule.kind is not FaultKind.DROP_FILL_UPDATE
            return rule.kind in _FRAME_KINDS and rule.covers(op) and told

        return self._draw(f"frame:{self._frames}", suits)

    def _draw(self, occasion: str, suits: Callable[[FaultRule], bool]) -> Strike | None:
        for index, rule in enumerate(self.rules):
            if not suits(rule):
                continue
            digest = hashlib.blake2b(f"{self.seed}:{occasion}:{index}".encode(), digest_size=16).digest()
            if not self._fires(rule, int.from_bytes(digest[:8]) / 2**64):
                continue
            rule.fired += 1
            return Strike(rule.kind, rule.delay_ms, int.from_bytes(digest[8:]))
        return None

    def _fires(self, rule: FaultRule, drawn: float) -> bool:
        now = self._monotonic()
        if now < rule.storm_until:
            return True
        if rule.is_spent or drawn >= rule.probability:
            return False
        rule.strikes += 1
        rule.storm_until = now + rule.duration_ms / 1000
        return True
