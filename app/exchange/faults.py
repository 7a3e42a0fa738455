"""Fault knobs: what the exchange does wrong on purpose, drawn from a seed and a counter so that it can be repeated."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

RULES_MAX = 50
DELAY_MS_MAX = 120_000


class FaultKind(StrEnum):
    """What can go wrong. `*_after_accept` and `malformed_body` take the request and spoil only the answer."""

    LATENCY = "latency"
    HTTP_5XX = "http_5xx"
    TIMEOUT_AFTER_ACCEPT = "timeout_after_accept"
    DROP_AFTER_ACCEPT = "drop_after_accept"
    DROP_BEFORE_ACCEPT = "drop_before_accept"
    THROTTLE_403 = "throttle_403"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105  a name, not a secret
    MALFORMED_BODY = "malformed_body"
    DROP_UPDATE = "drop_update"
    DUPLICATE_UPDATE = "duplicate_update"
    DELAY_UPDATE = "delay_update"


SWALLOWS_ANSWER = frozenset({FaultKind.TIMEOUT_AFTER_ACCEPT, FaultKind.DROP_AFTER_ACCEPT, FaultKind.MALFORMED_BODY})
FRAME_KINDS = frozenset({FaultKind.DROP_UPDATE, FaultKind.DUPLICATE_UPDATE, FaultKind.DELAY_UPDATE})


class Op(StrEnum):
    """What a request wants, as far as fault rules tell requests apart."""

    PLACE = "place"
    MODIFY = "modify"
    CANCEL = "cancel"
    BOOKS = "books"
    QUOTE = "quote"
    LOGIN = "login"
    SOCKET = "socket"
    POSTBACK = "postback"
    ANY = "any"


@dataclass(slots=True, kw_only=True)
class FaultRule:
    """One knob. `fired` counts how often it took effect; at `limit` it rests."""

    kind: FaultKind
    probability: float
    ops: frozenset[Op]
    delay_ms: int = 0
    limit: int | None = None
    fired: int = 0

    def covers(self, op: Op) -> bool:
        """Whether the rule speaks of such requests and may still fire."""
        if self.limit is not None and self.fired >= self.limit:
            return False
        return op in self.ops or Op.ANY in self.ops

    @property
    def delay_s(self) -> float:
        """The delay in seconds."""
        return self.delay_ms / 1000


class Faults:
    """The rules in force. They live in memory only: a restarted exchange is a healthy one."""

    def __init__(self) -> None:
        self.seed = 0
        self.rules: list[FaultRule] = []
        self._requests = 0
        self._frames = 0

    def configure(self, seed: int, rules: list[FaultRule]) -> None:
        """Replace all rules and start the counters anew."""
        self.seed, self.rules = seed, rules
        self._requests = self._frames = 0

    def for_request(self, op: Op) -> FaultRule | None:
        """Return the first rule that fires for this request, or None."""
        if not self.rules:
            return None
        self._requests += 1
        return self._draw(f"request:{self._requests}", op, frames=False)

    def for_frame(self, op: Op) -> FaultRule | None:
        """Return the first rule that fires for this order update on the socket or as a postback, or None."""
        if not self.rules:
            return None
        self._frames += 1
        return self._draw(f"frame:{self._frames}", op, frames=True)

    def _draw(self, occasion: str, op: Op, *, frames: bool) -> FaultRule | None:
        for index, rule in enumerate(self.rules):
            if (rule.kind in FRAME_KINDS) is not frames or not rule.covers(op):
                continue
            digest = hashlib.blake2b(f"{self.seed}:{occasion}:{index}".encode(), digest_size=8).digest()
            if int.from_bytes(digest) < rule.probability * 2**64:
                rule.fired += 1
                return rule
        return None
