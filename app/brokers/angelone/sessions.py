"""SmartAPI's sessions: what a login's answer means."""

from datetime import datetime
from http import HTTPStatus

import pyotp

from app.brokers.angelone.envelope import (
    RATE_LIMIT_CODE,
    RETRY_AFTER_S,
    Envelope,
    is_rate_limit,
    open_envelope,
)
from app.brokers.angelone.values import Malformed, identifier, mapping, text, token
from app.brokers.base import Profile
from app.brokers.http import NoReply, Reply
from app.core.errors import BrokerUnreadable, LoginRefused
from app.core.ports import BrokerSession
from app.infra.clock import next_ist_midnight

# Wrong client code, PIN or API key, or a blocked client: the next try would fail alike and bring a lock nearer.
_CONFIGURATION_CODES = frozenset({"AB1000", "AB1006", "AB1007", "AG8004"})
# The broker's own trouble, not a verdict on the credentials.
_TROUBLE_CODES = frozenset({"AB1004", "AB2000", "AB2001"})


def one_time_code(totp_secret: str, now: datetime) -> str:
    """Return the TOTP of a moment; raises `LoginRefused` for a secret that is not one."""
    try:
        return pyotp.TOTP(totp_secret).at(now)
    except ValueError:
        raise LoginRefused(
            "the TOTP secret is not base 32 of at least 112 bits", broker_code="", configuration=True
        ) from None


def parse_login(reply: Reply | NoReply, *, client_code: str, now: datetime) -> BrokerSession:
    """Return the session of a login; raises `LoginRefused` or `BrokerUnreadable`."""
    if isinstance(reply, NoReply):
        raise BrokerUnreadable(f"no reply to the login: {reply.reason}")
    if is_rate_limit(reply):
        raise BrokerUnreadable("rate limit", retry_after_s=RETRY_AFTER_S)
    try:
        envelope = open_envelope(reply.body)
        if envelope.ok and reply.status == HTTPStatus.OK and not envelope.code:
            return parse_session(envelope.data, client_code=client_code, now=now)
    except Malformed as exc:
        raise BrokerUnreadable(f"login, HTTP {reply.status}: {exc}") from None
    raise _login_error(reply.status, envelope)


def parse_session(data: object, *, client_code: str, now: datetime) -> BrokerSession:
    """Return the session in a login's or refresh's data; it dies at midnight in India. Raises `Malformed`."""
    tokens = mapping(data, "session")
    return BrokerSession(
        client_code=client_code,
        access_token=token(tokens, "jwtToken"),
        refresh_token=token(tokens, "refreshToken"),
        feed_token=token(tokens, "feedToken"),
        expires_at=next_ist_midnight(now),
    )


def parse_profile(data: object) -> Profile:
    """Return who is logged in; raises `Malformed`. The segments come as a list, or as a list written as text."""
    profile = mapping(data, "profile")
    raw = profile.get("exchanges")
    if isinstance(raw, list) and all(isinstance(name, str) for name in raw):
        names = [str(name) for name in raw]
    else:
        names = text(profile, "exchanges").strip("[]").split(",")
    segments = tuple(name for name in (part.strip(" \"'") for part in names) if name)
    return Profile(client_code=identifier(profile, "clientcode"), segments=segments)


def _login_error(status: int, envelope: Envelope) -> BrokerUnreadable | LoginRefused:
    if envelope.code == RATE_LIMIT_CODE:
        return BrokerUnreadable(envelope.said, retry_after_s=RETRY_AFTER_S)
    if (
        envelope.ok
        or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        or not envelope.code
        or envelope.code in _TROUBLE_CODES
    ):
        return BrokerUnreadable(f"login, HTTP {status}: {envelope.said}")
    return LoginRefused(envelope.said, broker_code=envelope.code, configuration=envelope.code in _CONFIGURATION_CODES)
