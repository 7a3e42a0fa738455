"""What people look at and settle: accounts, alerts, dead letters; and what brokers call us with."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest

from app.core.accounts import BlockReason
from app.core.alerts import AlertKind, Severity
from app.infra.events import Channel
from app.infra.wakeup import WakeUp
from app.queue.lanes import OTHER_VERSIONS_KEY
from app.services.dead_letters import DeadLetters
from tests.harness.desk import Desk
from tests.harness.queue import eventually
from tests.integration.api.conftest import Api
from tests.integration.services.test_admission import set_session


async def audited(desk: Desk) -> list[tuple[str, str, str, str | None]]:
    rows = await desk.rows("SELECT actor, action, subject, reason FROM audit_log ORDER BY id")
    return [(row["actor"], row["action"], row["subject"], row["reason"]) for row in rows]


async def an_alert(desk: Desk, subject: str, kind: AlertKind = AlertKind.SESSION_BROKEN) -> None:
    async with desk.uow.transaction() as tx:
        await tx.alerts.open(
            kind, subject, severity=Severity.CRITICAL, message="m", account_id=(await desk.account_named()).id
        )


async def test_accounts_are_listed_with_their_login_and_blocks_and_without_secrets(api: Api) -> None:
    await api.desk.add_account("other")
    account = await api.desk.account_named("paper")
    async with api.desk.uow.transaction() as tx:
        await tx.blocks.set(account.id, BlockReason.MISMATCH, "cash")
    listed = await api.get("/accounts")
    assert [one["name"] for one in listed["items"]] == ["other", "paper"]
    assert listed["items"][1]["session"]["state"] == "LOGGED_OUT"
    assert [(one["reason"], one["detail"]) for one in listed["items"][1]["blocks"]] == [("MISMATCH", "cash")]
    for state, ages, shown in (
        ("LOGGED_IN", {"over": -60}, "LOGGED_IN"),
        ("LOGGED_IN", {"over": 1}, "EXPIRED"),
        ("EXPIRED", {}, "EXPIRED"),
        ("BROKEN", {}, "BROKEN"),
    ):
        await set_session(api.desk, state, **ages)
        (found,) = (await api.get("/accounts", cursor="other"))["items"]
        assert found["session"]["state"] == shown
    text = json.dumps(listed)
    for secret in ("pin", "totp", "api_key", "credentials", "tokens"):
        assert secret not in text
    first = await api.get("/accounts", limit=1)
    assert first["next_cursor"] == "other"


async def test_a_broken_login_is_allowed_again_by_a_person_and_written_down(api: Api) -> None:
    await set_session(api.desk, "BROKEN")
    await api.desk.execute("UPDATE broker_sessions SET failures = 3, next_login_at = now() + interval '1 hour'")
    answer = await api.http.post("/api/v1/accounts/paper/login", json={"reason": "a new PIN"})
    assert (answer.status_code, answer.json()) == (202, {"account": "paper", "state": "LOGGED_OUT"})
    (row,) = await api.desk.rows("SELECT state, failures, next_login_at FROM broker_sessions")
    assert (row["state"], row["failures"], row["next_login_at"]) == ("LOGGED_OUT", 0, None)
    assert (await api.http.post("/api/v1/accounts/paper/login")).status_code == 202
    assert await audited(api.desk) == [
        ("user:admin", "account.login", "paper", "a new PIN"),
        ("user:admin", "account.login", "paper", None),
    ]
    for name in ("nobody", "a%00b"):
        assert (await api.http.post(f"/api/v1/accounts/{name}/login")).status_code == 404
    assert (await api.http.get("/api/v1/accounts?cursor=%00")).status_code == 422


async def test_open_alerts_are_listed_and_closed_once_with_a_reason(api: Api) -> None:
    for subject in ("a", "b", "c"):
        await an_alert(api.desk, subject)
    await an_alert(api.desk, "d", AlertKind.EXIT_WAITING)
    page = await api.get("/alerts", limit=3)
    assert [one["subject"] for one in page["items"]] == ["d", "c", "b"]
    assert page["items"][0]["account"] == "paper"
    rest = await api.get("/alerts", limit=3, cursor=page["next_cursor"])
    assert [one["subject"] for one in rest["items"]] == ["a"]
    assert rest["next_cursor"] is None
    alert_id = rest["items"][0]["alert_id"]
    closed = await api.http.post(f"/api/v1/alerts/{alert_id}/close", json={"reason": "seen"})
    assert closed.status_code == 200
    assert closed.json()["closed_at"] is not None
    again = await api.http.post(f"/api/v1/alerts/{alert_id}/close", json={"reason": "seen"})
    assert (again.status_code, again.json()["code"]) == (409, "alert_not_open")
    assert await audited(api.desk) == [("user:admin", "alert.close", alert_id, "seen")]
    assert len((await api.get("/alerts"))["items"]) == 3
    assert len((await api.get("/alerts", open_only="false"))["items"]) == 4
    assert len((await api.get("/alerts", kind="EXIT_WAITING", account="paper"))["items"]) == 1
    missing = await api.http.post(f"/api/v1/alerts/{uuid4()}/close", json={"reason": "seen"})
    assert missing.status_code == 404
    for body in ({}, {"reason": ""}, {"reason": "x" * 501}, {"reason": "a\x00"}, {"reason": "x", "more": 1}):
        assert (await api.http.post(f"/api/v1/alerts/{alert_id}/close", json=body)).status_code == 422


async def test_dead_letters_are_listed_requeued_and_closed(api: Api) -> None:
    ids = []
    for number in range(3):
        order_id = (await api.post(key=f"k{number}")).json()["order_id"]
        command = (await api.desk.command(order_id))["id"]
        letters = DeadLetters(uow=api.desk.uow, doorbell=api.desk.doorbell)
        assert await letters.park(command, reason="broker_logged_out", actor="keeper")
        ids.append((str(command), order_id))
    await api.desk.base.redis.set(OTHER_VERSIONS_KEY, 2)
    page = await api.get("/dead-letters", limit=2, account="paper")
    assert [one["command_id"] for one in page["items"]] == [ids[2][0], ids[1][0]]
    assert (page["total"], page["other_version_bells"]) == (3, 2)
    assert (page["items"][0]["reason"], page["items"][0]["order_status"]) == ("broker_logged_out", "PENDING")
    rest = await api.get("/dead-letters", cursor=page["next_cursor"])
    assert [one["command_id"] for one in rest["items"]] == [ids[0][0]]
    requeued = await api.http.post(f"/api/v1/dead-letters/{ids[0][0]}/requeue", json={"reason": "logged in"})
    assert (requeued.status_code, requeued.json()["result"]) == (200, "requeued")
    closed = await api.http.post(f"/api/v1/dead-letters/{ids[1][0]}/close", json={"reason": "too late"})
    assert (closed.status_code, closed.json()["result"]) == (200, "closed")
    assert await api.desk.status(ids[0][1]) == "PENDING"
    assert await api.desk.status(ids[1][1]) == "CANCELLED"
    assert (await api.get("/dead-letters"))["total"] == 1
    for action in ("requeue", "close"):
        gone = await api.http.post(f"/api/v1/dead-letters/{ids[1][0]}/{action}", json={"reason": "x"})
        assert gone.status_code == 404
        assert (await api.http.post(f"/api/v1/dead-letters/{ids[2][0]}/{action}", json={})).status_code == 422
    assert [entry[:2] for entry in await audited(api.desk)] == [
        ("user:admin", "dead_letter.requeue"),
        ("user:admin", "dead_letter.close"),
    ]


class Listener:
    """Keeps what is said on the hints' channel."""

    def __init__(self, api: Api) -> None:
        self.heard: list[str] = []
        self.task = asyncio.create_task(
            WakeUp(
                api.desk.base.redis,
                Channel.HINTS.value,
                lambda: None,
                lambda payload: self.heard.append(payload.decode()),
            ).listen()
        )


async def postback(api: Api, body: object, broker: str = "angelone") -> int:
    answer = await api.http.post(
        f"/api/v1/postbacks/{broker}",
        content=body if isinstance(body, bytes) else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    return answer.status_code


async def test_a_postback_hints_at_its_clients_account_once_in_half_a_second(api: Api) -> None:
    del api.http.headers["Authorization"]
    account = await api.desk.account_named()
    listener = Listener(api)
    try:
        await _until_subscribed(api)
        body: dict[str, Any] = {"clientcode": account.client_code, "orderid": "1", "status": "complete", "x": [1, {}]}
        assert {await postback(api, body) for _ in range(30)} == {204}
        assert await postback(api, {"clientcode": "NOBODY", "orderid": "1"}) == 204  # no oracle for client codes
        assert await postback(api, body, broker="null") == 204
        await eventually(lambda: bool(listener.heard))
        assert set(listener.heard) == {str(account.id)}
        assert len(listener.heard) <= 3  # one in half a second, on a slow machine too
    finally:
        listener.task.cancel()
        await asyncio.wait([listener.task])


async def _until_subscribed(api: Api) -> None:
    async def subscribed() -> bool:
        return bool((await api.desk.base.redis.pubsub_numsub(Channel.HINTS.value))[0][1])

    await eventually(subscribed)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[]", 422),
        (b"null", 422),
        (b"{}", 422),
        (b'{"clientcode": 1, "orderid": "1"}', 422),
        (b'{"clientcode": "P1", "orderid": 1}', 422),
        (b'{"clientcode": "", "orderid": "1"}', 422),
        (b'{"clientcode": "P1", "orderid": "' + b"1" * 65 + b'"}', 422),
        (b'{"clientcode": "\\u0000", "orderid": "1"}', 204),
        (b'{"clientcode": "P1", "orderid": "1", "text": "' + b"x" * 16_384 + b'"}', 413),
        (b"[" * 10_000, 400),
        (b" " * 100_000, 413),
    ],
)
async def test_a_postback_that_is_none_is_a_problem_and_changes_nothing(api: Api, body: bytes, status: int) -> None:
    del api.http.headers["Authorization"]
    assert await postback(api, body) == status
    assert await postback(api, b'{"clientcode": "P1", "orderid": "1"}', broker="UPPER") == 422


async def test_a_postback_is_taken_while_redis_is_away(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    account = await api.desk.account_named()

    async def broken(*_: object, **__: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(api.app.state.services.postbacks._bell._redis, "set", broken)
    assert await postback(api, {"clientcode": account.client_code, "orderid": "1"}) == 204
