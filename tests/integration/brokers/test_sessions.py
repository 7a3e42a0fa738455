"""Logging in, staying in and out, and what of it may be seen."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic

import pyotp
import pytest

from app.core.accounts import AccountMode
from app.core.errors import BrokerUnreadable, LoginRefused, PaperGuardError, SessionDead
from app.core.outcomes import NotSent
from app.infra.clock import SystemClock
from tests.harness.angelone import CREDENTIALS, SESSION, angelone_broker, place_request
from tests.harness.broker_server import Behaviour, BrokerServer, broker_server, golden_body, http_reply


class FixedClock(SystemClock):
    """Half past ten on a trading day in India."""

    def now(self) -> datetime:
        return datetime(2026, 9, 21, 5, 0, tzinfo=UTC)


def replying(*replies: bytes) -> Callable[[BrokerServer], Behaviour]:
    return lambda server: server.answering(*replies)


def refusal(code: str) -> bytes:
    return http_reply(json.dumps({"status": False, "message": "No", "errorcode": code, "data": None}).encode())


async def test_login_sends_pin_and_the_totp_of_the_moment_and_lives_until_midnight_in_india() -> None:
    async with broker_server(replying(http_reply(golden_body("login")))) as server:
        broker = angelone_broker(server.url, clock=FixedClock())
        session = await broker.login()
        await broker.close()
    head, _, body = bytes(server.received).partition(b"\r\n\r\n")
    assert head.startswith(b"POST /rest/auth/angelbroking/user/v1/loginByPassword HTTP/1.1")
    assert b"authorization" not in head.lower()
    assert json.loads(body) == {
        "clientcode": "P1001",
        "password": CREDENTIALS.pin,
        "totp": pyotp.TOTP(CREDENTIALS.totp_secret).at(FixedClock().now()),
    }
    assert (session.access_token, session.refresh_token) == ("jwt-secret-1", "refresh-secret-1")
    assert session.expires_at == datetime(2026, 9, 21, 18, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "headers",
    [(), ("X-Paper-Exchange: other",), ("X-Paper-Exchange: sauda", "X-Paper-Exchange: sauda")],
    ids=["no mark", "another mark", "two marks"],
)
@pytest.mark.parametrize("status", ["200 OK", "302 Found", "403 Forbidden"])
async def test_a_paper_login_believes_only_the_paper_exchange(headers: tuple[str, ...], status: str) -> None:
    body = golden_body("login")
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Location: http://127.0.0.1:9/", *headers]
    async with broker_server(replying(("\r\n".join(head) + "\r\n\r\n").encode() + body)) as server:
        broker = angelone_broker(server.url)
        with pytest.raises(PaperGuardError):
            await broker.login()
        await broker.close()


async def test_a_live_login_needs_no_mark() -> None:
    body = golden_body("login")
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with broker_server(replying(head + body)) as server:
        broker = angelone_broker(server.url, mode=AccountMode.LIVE)
        assert (await broker.login()).client_code == "P1001"
        await broker.close()


@pytest.mark.parametrize(
    ("code", "configuration"),
    [("AB1050", False), ("AB1007", True), ("AB1000", True), ("AG8004", True), ("AB9999", False)],
)
async def test_a_refused_login_says_whether_trying_again_can_help(code: str, *, configuration: bool) -> None:
    async with broker_server(replying(refusal(code))) as server:
        broker = angelone_broker(server.url)
        with pytest.raises(LoginRefused) as refused:
            await broker.login()
        await broker.close()
    assert (refused.value.broker_code, refused.value.configuration) == (code, configuration)


@pytest.mark.parametrize(
    "reply",
    [
        http_reply(golden_body("login_rate_limited"), status="403 Forbidden"),
        refusal("AB1004"),
        refusal("AB1021"),
        refusal(""),
        http_reply(b"<html>", status="502 Bad Gateway"),
        http_reply(b'{"status":true,"message":"","errorcode":"","data":{"jwtToken":"a b"}}'),
        http_reply(b'{"status":true,"message":"","errorcode":"","data":null}'),
    ],
    ids=["rate limit", "broker trouble", "AB1021", "no code", "HTML", "odd token", "no tokens"],
)
async def test_a_login_that_proves_nothing_is_unreadable(reply: bytes) -> None:
    async with broker_server(replying(reply)) as server:
        broker = angelone_broker(server.url)
        with pytest.raises(BrokerUnreadable):
            await broker.login()
        await broker.close()


async def test_refresh_sends_both_tokens_and_keeps_the_new_ones() -> None:
    renewed = golden_body("login").replace(b"-secret-1", b"-secret-2")
    async with broker_server(replying(http_reply(renewed))) as server:
        broker = angelone_broker(server.url)
        session = await broker.refresh(SESSION)
        await broker.close()
    assert session.refresh_token == "refresh-secret-2"
    assert b"POST /rest/auth/angelbroking/jwt/v1/generateTokens" in server.received
    assert b"Authorization: Bearer jwt-secret-1" in server.received
    assert b'{"refreshToken":"refresh-secret-1"}' in server.received


@pytest.mark.parametrize("code", ["AB8050", "AB8051", "AG8001"])
async def test_refresh_with_a_dead_session_says_so(code: str) -> None:
    async with broker_server(replying(refusal(code))) as server:
        broker = angelone_broker(server.url)
        with pytest.raises(SessionDead):
            await broker.refresh(SESSION)
        await broker.close()


@pytest.mark.parametrize("body", [golden_body("logout"), golden_body("profile_invalid_token")], ids=["live", "dead"])
async def test_logout_ends_a_session_and_minds_no_dead_one(body: bytes) -> None:
    async with broker_server(replying(http_reply(body))) as server:
        broker = angelone_broker(server.url)
        await broker.logout(SESSION)
        await broker.close()
    assert b'{"clientcode":"P1001"}' in server.received


async def test_a_place_call_with_a_dead_session_was_not_sent_on() -> None:
    async with broker_server(replying(http_reply(golden_body("profile_invalid_token")))) as server:
        broker = angelone_broker(server.url)
        outcome = await broker.place(SESSION, place_request(), deadline=monotonic() + 5)
        await broker.close()
    assert outcome == NotSent(reason="AG8001 Invalid Token", session_dead=True)


async def test_no_secret_reaches_a_log_a_repr_or_an_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen = [repr(CREDENTIALS), repr(SESSION)]
    broken = http_reply(golden_body("login")[:-3])
    async with broker_server(replying(http_reply(golden_body("login")), broken, http_reply(b"{}"))) as server:
        broker = angelone_broker(server.url)
        session = await broker.login()
        with pytest.raises(BrokerUnreadable) as error:
            await broker.login()
        seen.append(repr(error.value) + repr(error.value.__context__) + repr(error.value.__cause__))
        seen.append(repr(await broker.place(session, place_request(), deadline=monotonic() + 5)))
        with pytest.raises(BrokerUnreadable):
            async with broker.order_updates(session):
                raise AssertionError("a closed connection opens no stream")
        await broker.close()
    seen.append(caplog.text)
    for secret in ("pin-secret", "JBSWY3DPEHPK3PXP", "key-secret", "jwt-secret", "refresh-secret", "feed-secret"):
        assert secret not in "".join(seen)


async def test_a_totp_secret_that_is_none_is_a_refused_login_and_no_request() -> None:
    async with broker_server(replying()) as server:
        broker = angelone_broker(server.url, credentials=replace(CREDENTIALS, totp_secret="not base 32!"))
        with pytest.raises(LoginRefused) as refused:
            await broker.login()
        await broker.close()
    assert refused.value.configuration
    assert server.connections == 0


async def test_a_login_without_a_reply_is_unreadable() -> None:
    async with broker_server(replying()) as server:
        broker = angelone_broker(server.url)
        with pytest.raises(BrokerUnreadable, match="no reply"):
            await broker.login()
        await broker.close()
