"""A person's word on UNKNOWN orders and on blocks: taken once, refused where it does not fit, kept with its reason."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from app.core.accounts import BlockReason
from app.core.alerts import AlertKind, Severity
from tests.integration.api.conftest import Api

REASON = "seen in the broker's own book"


async def an_unknown_order(api: Api, **changes: Any) -> UUID:  # noqa: ANN401
    answer = await api.desk.place(**changes)
    await api.desk.execute("UPDATE orders SET status = 'UNKNOWN' WHERE id = :id", id=answer.order_id)
    await api.desk.execute(
        "UPDATE order_commands SET state = 'UNKNOWN', attempt = 1 WHERE order_id = :id", id=answer.order_id
    )
    assert answer.order_id is not None
    return answer.order_id


async def resolve(api: Api, order_id: UUID, *, key: str = "r1", **body: object) -> httpx.Response:
    return await api.http.post(
        f"/api/v1/orders/{order_id}/resolve", json={"reason": REASON} | body, headers={"Idempotency-Key": key}
    )


@pytest.mark.parametrize(
    ("body", "status", "command", "event"),
    [
        ({"resolution": "placed", "broker_order_id": "B1"}, "PLACED", "DONE", "RESOLVED_PLACED"),
        ({"resolution": "absent"}, "CANCELLED", "DONE", "RESOLVED_ABSENT"),
        ({"resolution": "resend"}, "PENDING", "PENDING", "RESOLVED_RESEND"),
    ],
)
async def test_a_word_moves_the_order_on_and_is_kept(
    api: Api, body: dict[str, str], status: str, command: str, event: str
) -> None:
    order_id = await an_unknown_order(api)
    async with api.desk.uow.transaction() as tx:
        await tx.alerts.open(
            AlertKind.ORDER_UNKNOWN, str(order_id), severity=Severity.CRITICAL, message="?", order_id=order_id
        )
    answer = await resolve(api, order_id, **body)
    assert (answer.status_code, answer.json()["status"]) == (200, status)
    order = await api.desk.order(order_id)
    assert (order.status.value, order.broker_order_id) == (status, body.get("broker_order_id"))
    assert (order.stages.done is not None) is (status == "CANCELLED")
    assert (await api.desk.command(order_id))["state"] == command
    (told,) = await api.desk.rows("SELECT event, actor, detail FROM order_events WHERE event LIKE 'RESOLVED%'")
    assert (told["event"], told["actor"], told["detail"]["reason"]) == (event, "user:admin", REASON)
    assert await api.desk.rows("SELECT 1 FROM alerts WHERE closed_at IS NULL") == []
    (kept,) = await api.desk.rows("SELECT actor, action, subject, reason FROM audit_log")
    assert tuple(kept.values()) == ("user:admin", f"order.resolve.{body['resolution']}", str(order_id), REASON)


async def test_a_repeated_word_gets_its_first_answer_and_does_nothing_again(api: Api) -> None:
    order_id = await an_unknown_order(api)
    first = await resolve(api, order_id, resolution="resend")
    again = await resolve(api, order_id, resolution="resend")
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert await api.desk.count("audit_log") == 1
    other = await resolve(api, order_id, resolution="absent")
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")


async def test_an_order_whose_state_is_known_is_not_resolved(api: Api) -> None:
    order_id = await api.desk.placed("B1")
    for attempt in range(2):
        answer = await resolve(api, order_id, resolution="absent")
        assert (answer.status_code, answer.json()["code"]) == (409, "order_not_unknown"), attempt
    assert await api.desk.status(order_id) == "PLACED"
    assert await api.desk.count("audit_log") == 0


async def test_a_broker_order_of_another_order_is_refused(api: Api) -> None:
    await api.desk.placed("B1")
    order_id = await an_unknown_order(api)
    answer = await resolve(api, order_id, resolution="placed", broker_order_id="B1")
    assert (answer.status_code, answer.json()["code"]) == (409, "broker_order_taken")
    assert await api.desk.status(order_id) == "UNKNOWN"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"resolution": "placed"}, "broker_order_id"),
        ({"resolution": "absent", "broker_order_id": "B1"}, "broker_order_id"),
        ({"resolution": "placed", "broker_order_id": "with space"}, "broker_order_id"),
        ({"resolution": "gone"}, "resolution"),
        ({"resolution": "absent", "reason": "no"}, "reason"),
        ({"resolution": "absent", "reason": "x" * 501}, "reason"),
        ({"resolution": "absent", "sure": True}, "sure"),
        ({}, "resolution"),
    ],
)
async def test_a_word_that_is_not_well_formed_names_the_field(api: Api, body: dict[str, object], field: str) -> None:
    order_id = await an_unknown_order(api)
    answer = await resolve(api, order_id, **body)
    assert answer.status_code == 422
    assert field in {error["field"] for error in answer.json()["errors"]}
    assert await api.desk.status(order_id) == "UNKNOWN"


async def test_an_order_that_is_not_there_cannot_be_resolved(api: Api) -> None:
    answer = await resolve(api, uuid4(), resolution="absent")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_cancel_that_was_held_outweighs_the_wish_to_send_again(api: Api) -> None:
    order_id = await an_unknown_order(api)
    held = await api.http.post(f"/api/v1/orders/{order_id}/cancel", headers={"Idempotency-Key": "c1"})
    assert held.json()["result"] == "held"
    answer = await resolve(api, order_id, resolution="resend")
    assert answer.json()["status"] == "CANCELLED"
    states = {row["state"] for row in await api.desk.rows("SELECT state FROM order_commands")}
    assert states == {"DONE"}


async def test_blocks_are_listed_and_lifted_with_a_reason(api: Api) -> None:
    account = await api.desk.account_named()
    other = await api.desk.add_account("other")
    async with api.desk.uow.transaction() as tx:
        await tx.blocks.set(account.id, BlockReason.ORPHAN, "an order that nobody knows")
        await tx.blocks.set(other.id, BlockReason.MISMATCH, "a position that is not there")
    (block,) = (await api.get("/accounts/paper/blocks"))["items"]
    assert (block["reason"], block["detail"]) == ("ORPHAN", "an order that nobody knows")
    path = "/api/v1/accounts/paper/blocks/ORPHAN/lift"
    assert (await api.http.post(path, json={"reason": REASON})).status_code == 204
    assert (await api.get("/accounts/paper/blocks"))["items"] == []
    assert len((await api.get("/accounts/other/blocks"))["items"]) == 1
    (kept,) = await api.desk.rows("SELECT actor, action, subject, reason FROM audit_log")
    assert tuple(kept.values()) == ("user:admin", "account.lift.ORPHAN", "paper", REASON)
    assert (await api.http.post(path, json={"reason": REASON})).status_code == 404


async def test_blocks_of_an_account_that_is_not_there_are_not_found(api: Api) -> None:
    assert (await api.http.get("/api/v1/accounts/nobody/blocks")).status_code == 404
    answer = await api.http.post("/api/v1/accounts/paper/blocks/BORED/lift", json={"reason": REASON})
    assert answer.status_code == 422
