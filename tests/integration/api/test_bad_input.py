"""What can never be an order is refused with a code and the field's name, and reaches neither database nor queue."""

import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import Redis

from app.queue.claims import LANE_KEYS
from tests.integration.api.conftest import Api

BAD_FIELDS: list[tuple[str, dict[str, Any], str, str]] = [
    ("unknown field", {"quantty": 10}, "quantty", "extra_forbidden"),
    ("quantity as text", {"quantity": "10"}, "quantity", "int_type"),
    ("fractional quantity", {"quantity": 1.5}, "quantity", "int_type"),
    ("whole float quantity", {"quantity": 10.0}, "quantity", "int_type"),
    ("quantity true", {"quantity": True}, "quantity", "int_type"),
    ("negative quantity", {"quantity": -10}, "quantity", "greater_than"),
    ("zero quantity", {"quantity": 0}, "quantity", "greater_than"),
    ("quantity null", {"quantity": None}, "quantity", "int_type"),
    ("absurd quantity", {"quantity": 10**12}, "quantity", "quantity_out_of_range"),
    ("quantity beyond 64 bits", {"quantity": 10**30}, "quantity", "quantity_out_of_range"),
    ("side unknown", {"side": "HOLD"}, "side", "enum"),
    ("side in small letters", {"side": "buy"}, "side", "enum"),
    ("order type unknown", {"order_type": "ICEBERG"}, "order_type", "enum"),
    ("product of derivatives", {"product": "NRML"}, "product", "product_not_allowed"),
    ("validity unknown", {"validity": "GTT"}, "validity", "enum"),
    ("urgency unknown", {"urgency": "NOW"}, "urgency", "enum"),
    ("price off the tick", {"price": "182.66"}, "price", "price_off_tick"),
    ("price with 20 decimals", {"price": "182.65000000000000000001"}, "price", "decimal_max_digits"),
    ("price zero", {"price": "0"}, "price", "greater_than"),
    ("price negative", {"price": "-1"}, "price", "greater_than"),
    ("price is text", {"price": "cheap"}, "price", "decimal_parsing"),
    ("price is NaN in text", {"price": "NaN"}, "price", "finite_number"),
    ("price is infinite", {"price": "Infinity"}, "price", "finite_number"),
    ("price beyond reason", {"price": "99999999.95"}, "price", "price_out_of_range"),
    ("limit order without price", {"price": None}, "price", "price_required"),
    ("market order with price", {"order_type": "MARKET"}, "price", "price_not_allowed"),
    ("stop without trigger", {"order_type": "SL"}, "trigger_price", "trigger_price_required"),
    ("limit with trigger", {"trigger_price": "180"}, "trigger_price", "trigger_price_not_allowed"),
    ("stop that rests, IOC", {"order_type": "SL-M", "price": None, "trigger_price": "180", "validity": "IOC"},
     "validity", "validity_not_allowed"),
    ("unknown instrument", {"instrument": "NSE:NOSUCH"}, "instrument", "unknown_instrument"),
    ("instrument without segment", {"instrument": "YESBANK"}, "instrument", "unknown_instrument"),
    ("an index has no orders", {"instrument": "NSE:NIFTY50"}, "instrument", "instrument_not_tradable"),
    ("unknown account", {"account": "nobody"}, "account", "unknown_account"),
    ("empty account", {"account": ""}, "account", "string_too_short"),
    ("account with half a character", {"account": "\ud800"}, "account", "string_unicode"),
    ("account with NUL", {"account": "a\x00"}, "account", "unknown_account"),
    ("very long account", {"account": "a" * 65}, "account", "string_too_long"),
    ("deadline without zone", {"deadline": "2019-01-01T12:00:00"}, "deadline", "timezone_aware"),
    ("deadline is no time", {"deadline": "soon"}, "deadline", "datetime_from_date_parsing"),
    ("deadline at the calendar's end", {"deadline": "9999-12-31T23:59:59Z"}, "deadline", "deadline_out_of_range"),
    ("deadline beyond it in UTC", {"deadline": "9999-12-31T23:59:59-05:30"}, "deadline", "deadline_out_of_range"),
    ("client id with a blank", {"client_order_id": "a b"}, "client_order_id", "string_pattern_mismatch"),
    ("client id with a line end", {"client_order_id": "a\n"}, "client_order_id", "string_pattern_mismatch"),
    ("client id too long", {"client_order_id": "x" * 65}, "client_order_id", "string_pattern_mismatch"),
]  # fmt: skip


async def reached_nothing(api: Api) -> bool:
    redis: Redis = api.desk.base.redis
    rung = [await redis.zcard(key) for key in LANE_KEYS]
    tables = ("orders", "order_commands", "order_events", "idempotency_keys")
    return not any(rung) and not any([await api.desk.count(table) for table in tables])


async def test_each_bad_field_is_named_with_a_stable_code_and_reaches_nothing(api: Api) -> None:
    wrong = []
    for name, changes, field, code in BAD_FIELDS:
        answer = await api.http.post(
            "/api/v1/orders",
            content=_json(api.order | changes),
            headers={"Idempotency-Key": name.replace(" ", "-").replace(",", ""), "Content-Type": "application/json"},
        )
        problem = answer.json()
        named = {(error["field"], error["code"]) for error in problem["errors"]}
        typed = answer.headers["content-type"] == "application/problem+json"
        if answer.status_code != 422 or (field, code) not in named or not typed or problem["status"] != 422:
            wrong.append((name, answer.status_code, named))
    assert wrong == []
    assert await reached_nothing(api)


async def test_a_missing_field_is_named(api: Api) -> None:
    for missing in ("account", "instrument", "side", "quantity", "order_type", "product"):
        answer = await api.post({name: value for name, value in api.order.items() if name != missing})
        assert answer.status_code == 422
        assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(missing, "missing")]
    assert await reached_nothing(api)


BAD_BODIES = [
    (b"{", 400, "malformed_json"),
    (b"\xff\xfe", 400, "malformed_json"),
    (b'{"quantity": ' + b"9" * 5000 + b"}", 400, "malformed_json"),
    (b"[" * 30_000, 400, "malformed_json"),
    (b"[]", 422, "invalid_request"),
    (b"null", 422, "invalid_request"),
    (b'"text"', 422, "invalid_request"),
    (b"", 422, "invalid_request"),
    (b'{"\\ud800": 1}', 422, "invalid_request"),
]


async def test_a_body_that_is_no_order_is_a_problem(api: Api) -> None:
    for content, status, code in BAD_BODIES:
        answer = await api.http.post(
            "/api/v1/orders", content=content, headers={"Idempotency-Key": "k", "Content-Type": "application/json"}
        )
        assert (answer.status_code, answer.json()["code"]) == (status, code), content[:20]
        assert answer.headers["content-type"] == "application/problem+json"
    assert await reached_nothing(api)


async def test_numbers_that_are_none_are_refused_by_field(api: Api) -> None:
    for field, literal in itertools.product(("price", "quantity"), ("NaN", "Infinity", "-Infinity", "1e400")):
        content = _json({**api.order, field: "@"}).replace(b'"@"', literal.encode())
        answer = await api.http.post(
            "/api/v1/orders", content=content, headers={"Idempotency-Key": "k", "Content-Type": "application/json"}
        )
        assert answer.status_code == 422
        assert {error["field"] for error in answer.json()["errors"]} == {field}
    assert await reached_nothing(api)


async def test_the_idempotency_key_is_mandatory_short_and_printable(api: Api) -> None:
    for key in (None, "", "x" * 129, "with blank"):
        headers = {} if key is None else {"Idempotency-Key": key}
        answer = await api.http.post("/api/v1/orders", json=api.order, headers=headers)
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == ["Idempotency-Key"]
    assert await reached_nothing(api)


async def test_a_body_of_10_mb_is_refused_with_and_without_its_length(api: Api) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(160):
            yield b" " * 65_536

    for content in (b" " * 10_485_760, parts()):
        answer = await api.http.post("/api/v1/orders", content=content, headers={"Idempotency-Key": "k"})
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert await reached_nothing(api)


async def test_a_body_at_the_limit_is_read(api: Api) -> None:
    padded = _json(api.order).ljust(64 * 1024)
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    assert (await api.http.post("/api/v1/orders", content=padded, headers=headers)).status_code == 202
    answer = await api.http.post("/api/v1/orders", content=padded + b" ", headers=headers)
    assert answer.status_code == 413


BAD_QUERIES = [
    ("/orders?account=nobody", "account"),
    ("/orders?instrument=NSE:NOSUCH", "instrument"),
    ("/orders?status=OPEN", "status"),
    ("/orders?side=LONG", "side"),
    ("/orders?strategy_id=x", "strategy_id"),
    ("/orders?trading_day=yesterday", "trading_day"),
    ("/orders?cursor=1", "cursor"),
    ("/orders?limit=0", "limit"),
    ("/orders?limit=201", "limit"),
    ("/orders/not-an-id", "order_id"),
    ("/fills?account=nobody", "account"),
    ("/fills?instrument=%00", "instrument"),
    ("/fills?order_id=1", "order_id"),
    ("/positions?account=nobody", "account"),
    ("/positions?limit=100000", "limit"),
    ("/positions?open_only=perhaps", "open_only"),
]


async def test_a_bad_query_names_its_field(api: Api) -> None:
    for path, field in BAD_QUERIES:
        answer = await api.http.get(f"/api/v1{path}")
        assert answer.status_code == 422, path
        assert [error["field"] for error in answer.json()["errors"]] == [field], path


def _json(body: dict[str, Any]) -> bytes:

    return json.dumps(body).encode()
