"""The verdict on every kind of reply to a write."""

import json

import httpx
import pytest

from app.brokers.angelone.outcomes import CHANGE_REFUSALS, write_outcome
from app.brokers.http import NoReply, Reply
from app.core.outcomes import Accepted, Ambiguous, NotSent, PlaceOutcome, Refused, Throttled
from tests.harness.broker_server import golden_body


def reply(body: bytes | dict[str, object], status: int = 200) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status=status, headers=httpx.Headers(), body=raw)


def refused_with(code: object, **more: object) -> dict[str, object]:
    return {"status": False, "message": "No", "errorcode": code, "data": None} | more


def accepted_with(data: object, **more: object) -> dict[str, object]:
    return {"status": True, "message": "SUCCESS", "errorcode": "", "data": data} | more


@pytest.mark.parametrize(
    "code", ["AB1005", "AB1006", "AB1008", "AB1009", "AB1012", "AB2002", "AB4008", "AB4036", "AG8004"]
)
@pytest.mark.parametrize("status", [200, 400, 403])
def test_a_validation_or_permission_code_proves_a_refusal(code: str, status: int) -> None:
    assert write_outcome(reply(refused_with(code), status)) == Refused(code=code, message="No")


@pytest.mark.parametrize("code", ["AG8001", "AG8002", "AG8003", "AB8050", "AB8051", "AB1010", "AB1011"])
@pytest.mark.parametrize("dialect", ["order service", "gateway"])
def test_a_session_code_means_not_sent_and_a_dead_session(code: str, dialect: str) -> None:
    body = refused_with(code)
    if dialect == "gateway":
        body = {"success": False, "message": "No", "errorCode": code, "data": ""}
    assert write_outcome(reply(body)) == NotSent(reason=f"{code} No", session_dead=True)


def test_the_access_rate_page_and_its_code_are_throttled() -> None:
    assert isinstance(write_outcome(reply(golden_body("login_rate_limited"), 403)), Throttled)
    assert isinstance(write_outcome(reply(refused_with("AB1021"))), Throttled)


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        ({"orderid": "1", "uniqueorderid": "u"}, Accepted(broker_order_id="1", broker_unique_id="u")),
        ({"orderid": "1"}, Accepted(broker_order_id="1")),
        ({"orderid": "1", "uniqueorderid": None}, Accepted(broker_order_id="1")),
        ({"orderid": 260921000000010}, None),
        ({"orderid": 26092100000001}, Accepted(broker_order_id="26092100000001")),
    ],
)
def test_a_receipt_with_an_order_id_is_accepted(data: object, outcome: PlaceOutcome | None) -> None:
    found = write_outcome(reply(accepted_with(data)))
    assert found == (outcome or Accepted(broker_order_id="260921000000010"))


@pytest.mark.parametrize(
    "raw",
    [
        reply(accepted_with(None)),
        reply(accepted_with({})),
        reply(accepted_with([])),
        reply(accepted_with({"orderid": ""})),
        reply(accepted_with({"orderid": None})),
        reply(accepted_with({"orderid": True})),
        reply(accepted_with({"orderid": -1})),
        reply(accepted_with({"orderid": 1.5})),
        reply(accepted_with({"orderid": ["1"]})),
        reply(accepted_with({"orderid": "1\r\n2"})),
        reply(accepted_with({"orderid": "9" * 65})),
        reply(accepted_with({"orderid": "1", "uniqueorderid": 1.5})),
        reply(accepted_with({"orderid": "1"}, errorcode="AB1009")),
        reply(accepted_with({"orderid": "1"}, success=False)),
        reply(accepted_with({"orderid": "1"}, status="true")),
        reply(accepted_with({"orderid": "1"}), 202),
        reply(accepted_with({"orderid": "1"}), 400),
        reply(accepted_with({"orderid": "1"}), 500),
        reply(refused_with("AB1009"), 500),
        reply(refused_with("AB1009"), 302),
        reply(refused_with("AB1009"), 999),
        reply(refused_with("AB1009", data={"orderid": "1"})),
        reply(refused_with("AB1009", errorCode="AB1012")),
        reply(refused_with("AB1009", status="false")),
        reply(refused_with(1009)),
        reply(refused_with("AB1004")),
        reply(refused_with("AB1007")),
        reply(refused_with("AB2000")),
        reply(refused_with("AB2001")),
        reply(refused_with("AB1013")),
        reply(refused_with("AB7777")),
        reply(refused_with("")),
        reply(b"", 400),
        reply(b""),
        reply(b"null"),
        reply(b"[]"),
        reply(b"[" * 100_000),
        reply(b'{"status":true,"data":{"orderid":1e999999999}}'),
        reply(b'{"status":true,"data":{"orderid":NaN}}'),
        reply(b"\xff\xfe\x00"),
        reply(b"<html>busy</html>", 403),
        reply(b"Too Many Requests", 429),
        NoReply(reason="ReadTimeout", begun=True),
    ],
)
def test_everything_else_is_ambiguous(raw: Reply | NoReply) -> None:
    assert isinstance(write_outcome(raw), Ambiguous)


def test_a_request_that_never_began_is_not_sent() -> None:
    assert write_outcome(NoReply(reason="ConnectError", begun=False)) == NotSent(
        reason="ConnectError", unreachable=True
    )


def test_an_order_that_does_not_exist_refuses_a_change_but_explains_no_placement() -> None:
    unknown_order = reply(refused_with("AB1013"))
    assert write_outcome(unknown_order, refusals=CHANGE_REFUSALS) == Refused(code="AB1013", message="No")
    assert isinstance(write_outcome(unknown_order), Ambiguous)


def test_a_message_is_cut_and_put_on_one_line() -> None:
    outcome = write_outcome(reply(refused_with("AB1009", message="a\r\n\x1b[31m" + "b" * 500)))
    assert isinstance(outcome, Refused)
    assert len(outcome.message) <= 200
    assert outcome.message.isprintable()
