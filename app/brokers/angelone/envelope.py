"""SmartAPI's two envelopes, the codes in them, and what a read may conclude from a reply.

The order service answers with `status` and `errorcode`, the gateway in front of it with `success` and `errorCode`.
"""

from dataclasses import dataclass
from http import HTTPStatus

from app.brokers.angelone.values import Malformed, load_json, mapping, one_line, text
from app.brokers.http import NoReply, Reply
from app.core.errors import BrokerUnreadable, SessionDead

SESSION_DEAD_CODES = frozenset({"AG8001", "AG8002", "AG8003", "AB8050", "AB8051", "AB1010", "AB1011"})
RATE_LIMIT_CODE = "AB1021"
RETRY_AFTER_S = 1.0

_RATE_LIMIT_TEXT = b"exceeding access rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A reply's verdict, code, message and data. `code` is empty on success."""

    ok: bool
    code: str
    message: str
    data: object

    @property
    def said(self) -> str:
        """The code and message, for people."""
        return one_line(f"{self.code} {self.message}")


def open_envelope(body: bytes) -> Envelope:
    """Return the envelope of a body; raises `Malformed`, also when its two dialects contradict each other."""
    raw = mapping(load_json(body), "body")
    verdicts = {raw[key] is True for key in ("status", "success") if isinstance(raw.get(key), bool)}
    spoken = [key for key in ("status", "success") if key in raw]
    if len(verdicts) != 1 or not all(isinstance(raw[key], bool) for key in spoken):
        raise Malformed("body has no clear status")
    codes = {code for code in (text(raw, "errorcode"), text(raw, "errorCode")) if code}
    if len(codes) > 1:
        raise Malformed("body has two error codes")
    return Envelope(
        ok=verdicts.pop(), code=codes.pop() if codes else "", message=text(raw, "message"), data=raw.get("data")
    )


def is_rate_limit(reply: Reply) -> bool:
    """Whether the gateway turned the request away unread for its rate."""
    return reply.status == HTTPStatus.FORBIDDEN and _RATE_LIMIT_TEXT in reply.body.lower()


def data_of(reply: Reply | NoReply) -> object:
    """Return the data of a successful read; raises `BrokerUnreadable` or `SessionDead` for anything else."""
    if isinstance(reply, NoReply):
        raise BrokerUnreadable(f"no reply: {reply.reason}")
    if is_rate_limit(reply):
        raise BrokerUnreadable("rate limit", retry_after_s=RETRY_AFTER_S)
    try:
        envelope = open_envelope(reply.body)
    except Malformed as exc:
        raise BrokerUnreadable(f"HTTP {reply.status}: {exc}") from None
    if not envelope.ok:
        raise _refused_read(envelope)
    if reply.status != HTTPStatus.OK or envelope.code:
        raise BrokerUnreadable(f"HTTP {reply.status} with a success inside: {envelope.said}")
    return envelope.data


def _refused_read(envelope: Envelope) -> BrokerUnreadable:
    if envelope.code in SESSION_DEAD_CODES:
        return SessionDead(envelope.said)
    if envelope.code == RATE_LIMIT_CODE:
        return BrokerUnreadable(envelope.said, retry_after_s=RETRY_AFTER_S)
    return BrokerUnreadable(envelope.said or "read refused without a code")
