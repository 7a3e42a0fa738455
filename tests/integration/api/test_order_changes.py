"""PATCH and cancel of orders: every answer and every refusal, by their stable codes."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from app.infra.ids import new_id
from app.queue.lanes import LANES, lane_keys
from tests.integration.api.conftest import Api

Json = dict[str, Any]


async def change(api: Api, order_id: object, body: object, *, key: str = "c1") -> httpx.Response:
    return await api.http.patch(f"/api/v1/orders/{order_id}", json=body, headers={"Idempotency-Key": key})


async def cancel(api: Api, order_id: object, body: object = None, *, key: str = "c1") -> httpx.Response:
    headers = {"Idempotency-Key": key}
    if body is None:
        return await api.http.post(f"/api/v1/orders/{order_id}/cancel", headers=headers)
    return await api.http.post(f"/api/v1/orders/{order_id}/cancel", json=body, headers=headers)


async def cancel_many(api: Api, body: object, *, key: str = "c1") -> httpx.Response:
    return await api.http.post("/api/v1/orders/cancel", json=body, headers={"Idempotency-Key": key})


async def saved(api: Api) -> UUID:
    return UUID((await api.post(key=f"order-{new_id()}")).json()["order_id"])


async def resting(api: Api, *, status: str = "PLACED", filled: int = 0) -> UUID:
    order_id = await saved(api)
    await api.desk.execute("UPDATE order_commands SET state = 'DONE' WHERE order_id = :id", id=order_id)
    await api.desk.execute(
        "UPDATE orders SET status = :status, broker_order_id = :b, filled_quantity = :n WHERE id = :id",
        id=order_id,
        status=status,
        b=f"B-{order_id}",
        n=filled,
    )
    return order_id


async def test_a_resting_order_is_changed_by_a_command_that_rings(api: Api) -> None:
    order_id = await resting(api)
    answer = await change(api, order_id, {"price": "182.50", "account": "paper"})
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/v1/orders/{order_id}"
    assert answer.json() == {
        "order_id": str(order_id),
        "account": "paper",
        "result": "modify_sent",
        "status": "PLACED",
        "quantity": 10,
        "filled_quantity": 0,
        "order_type": "LIMIT",
        "price": "182.650000",
        "trigger_price": None,
    }
    again = await change(api, order_id, {"price": "182.50", "account": "paper"})
    assert (again.json(), again.headers["idempotency-replayed"]) == (answer.json(), "true")
    other = await change(api, order_id, {"price": "182.45"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")


async def test_a_cancel_rings_in_the_priority_lane_and_the_timeline_names_who_asked(api: Api) -> None:
    order_id = await resting(api)
    answer = await cancel(api, order_id)
    assert (answer.status_code, answer.json()["result"]) == (202, "cancel_sent")
    assert await api.desk.base.redis.zcard(lane_keys(LANES[0]).ready) == 1
    events = (await api.get(f"/orders/{order_id}"))["events"]
    assert (events[-1]["event"], events[-1]["actor"]) == ("CANCEL_REQUESTED", "user:admin")
    assert (await cancel(api, order_id)).headers["idempotency-replayed"] == "true"


async def test_an_order_that_was_not_sent_is_changed_and_cancelled_at_once(api: Api) -> None:
    order_id = await saved(api)
    changed = await change(api, order_id, {"quantity": 20, "order_type": "MARKET"})
    assert (changed.json()["result"], changed.json()["price"]) == ("modified", None)
    cancelled = await cancel(api, order_id, key="c2")
    assert (cancelled.json()["result"], cancelled.json()["status"]) == ("cancelled", "CANCELLED")
    assert (await api.get(f"/orders/{order_id}"))["status"] == "CANCELLED"


async def test_a_cancel_is_held_while_nobody_knows_where_the_order_is(api: Api) -> None:
    order_id = await resting(api, status="UNKNOWN")
    answer = await cancel(api, order_id)
    assert (answer.status_code, answer.json()["result"]) == (202, "held")
    assert (await api.get(f"/orders/{order_id}"))["cancel_wanted_at"] is not None


REFUSED: list[tuple[str, Json, str]] = [
    ("COMPLETE", {"price": "182.50"}, "order_over"),
    ("CANCELLED", {"price": "182.50"}, "order_over"),
    ("REJECTED", {"price": "182.50"}, "order_over"),
    ("EXPIRED", {"price": "182.50"}, "order_over"),
    ("UNKNOWN", {"price": "182.50"}, "order_in_flight"),
    ("SUBMITTING", {"price": "182.50"}, "order_in_flight"),
    ("PLACED", {"price": "182.50", "account": "other"}, "wrong_account"),
]


@pytest.mark.parametrize(("status", "body", "code"), REFUSED)
async def test_a_change_that_the_orders_state_does_not_allow_is_a_409(
    api: Api, status: str, body: Json, code: str
) -> None:
    order_id = await resting(api, status=status)
    answer = await change(api, order_id, body)
    assert (answer.status_code, answer.json()["code"]) == (409, code)
    assert answer.headers["content-type"] == "application/problem+json"
    again = await change(api, order_id, body)
    assert (again.json(), again.headers["idempotency-replayed"]) == (answer.json(), "true")
    assert len(await api.desk.rows("SELECT 1 FROM order_commands WHERE kind <> 'PLACE'")) == 0


@pytest.mark.parametrize("status", ["COMPLETE", "CANCELLED", "REJECTED", "EXPIRED"])
async def test_a_cancel_of_an_order_that_is_over_is_a_409(api: Api, status: str) -> None:
    answer = await cancel(api, await resting(api, status=status))
    assert (answer.status_code, answer.json()["code"]) == (409, "order_over")


async def test_a_second_change_waits_for_the_first(api: Api) -> None:
    order_id = await resting(api)
    await change(api, order_id, {"price": "182.50"}, key="c1")
    answer = await change(api, order_id, {"price": "182.40"}, key="c2")
    assert (answer.status_code, answer.json()["code"]) == (409, "change_in_flight")
    assert (await cancel(api, order_id, key="c3")).status_code == 202
    answer = await change(api, order_id, {"price": "182.40"}, key="c4")
    assert answer.json()["code"] == "change_in_flight"


async def test_an_exit_cannot_grow(api: Api) -> None:
    order_id = await resting(api)
    await api.desk.execute("UPDATE orders SET purpose = 'EXIT'")
    answer = await change(api, order_id, {"quantity": 11})
    assert (answer.status_code, answer.json()["code"]) == (409, "exit_cannot_grow")


INVALID: list[tuple[Json, str, str]] = [
    ({"price": "182.51"}, "price", "price_off_tick"),
    ({"trigger_price": "182.50"}, "trigger_price", "trigger_price_not_allowed"),
    ({"order_type": "SL"}, "trigger_price", "trigger_price_required"),
    ({"quantity": 5}, "quantity", "quantity_not_above_filled"),
    ({"quantity": 4}, "quantity", "quantity_not_above_filled"),
    ({"quantity": 20_000_000}, "quantity", "quantity_out_of_range"),
    ({"quantity": 10}, "body", "nothing_to_change"),
    ({}, "body", "nothing_to_change"),
    ({"account": "paper"}, "body", "nothing_to_change"),
    ({"quantity": 0}, "quantity", "greater_than"),
    ({"quantity": "7"}, "quantity", "int_type"),
    ({"price": "NaN"}, "price", "finite_number"),
    ({"price": "-1"}, "price", "greater_than"),
    ({"order_type": "ICEBERG"}, "order_type", "enum"),
    ({"side": "SELL"}, "side", "extra_forbidden"),
]


@pytest.mark.parametrize(("body", "field", "code"), INVALID)
async def test_terms_that_can_never_be_right_name_their_field(api: Api, body: Json, field: str, code: str) -> None:
    order_id = await resting(api, status="PARTIALLY_FILLED", filled=5)
    answer = await change(api, order_id, body)
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert (error["field"], error["code"]) == (field, code)
    assert await api.desk.events(order_id) == ["CREATED"]


async def test_unknown_ids_are_404_and_ids_that_are_none_are_422(api: Api) -> None:
    assert (await change(api, new_id(), {"quantity": 1})).status_code == 404
    assert (await cancel(api, new_id())).status_code == 404
    assert (await change(api, "x", {"quantity": 1})).status_code == 422
    assert (await cancel(api, "x")).status_code == 422


async def test_a_cancel_for_another_account_is_refused(api: Api) -> None:
    answer = await cancel(api, await resting(api), {"account": "other"})
    assert (answer.status_code, answer.json()["code"]) == (409, "wrong_account")
    assert (await cancel(api, await resting(api), {"acount": "paper"}, key="c2")).status_code == 422


async def test_the_key_is_mandatory(api: Api) -> None:
    order_id = await resting(api)
    for answer in (
        await api.http.patch(f"/api/v1/orders/{order_id}", json={"quantity": 11}),
        await api.http.post(f"/api/v1/orders/{order_id}/cancel"),
        await api.http.post("/api/v1/orders/cancel", json={"account": "paper"}),
    ):
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "Idempotency-Key"


async def test_a_bulk_cancel_tells_of_each_order(api: Api) -> None:
    waiting, live = await saved(api), await resting(api)
    answer = await cancel_many(api, {"account": "paper", "instrument": "NSE:YESBANK", "side": "BUY"})
    assert (answer.status_code, answer.json()) == (
        202,
        {
            "account": "paper",
            "results": [
                {"order_id": str(waiting), "result": "cancelled", "status": "CANCELLED"},
                {"order_id": str(live), "result": "cancel_sent", "status": "PLACED"},
            ],
            "more": False,
        },
    )
    again = await cancel_many(api, {"account": "paper", "instrument": "NSE:YESBANK", "side": "BUY"})
    assert (again.json(), again.headers["idempotency-replayed"]) == (answer.json(), "true")
    conflict = await cancel_many(api, {"account": "paper"})
    assert (conflict.status_code, conflict.json()["code"]) == (409, "idempotency_key_reused")


BAD_FILTERS: list[tuple[Json, str, str]] = [
    ({}, "account", "missing"),
    ({"account": "nobody"}, "account", "unknown_account"),
    ({"account": "paper", "instrument": "NSE:NOPE"}, "instrument", "unknown_instrument"),
    ({"account": "paper", "side": "LEFT"}, "side", "enum"),
    ({"account": "paper", "strategy_id": "x"}, "strategy_id", "uuid_parsing"),
    ({"account": "paper", "status": "PLACED"}, "status", "extra_forbidden"),
]


@pytest.mark.parametrize(("body", "field", "code"), BAD_FILTERS)
async def test_a_bad_filter_names_its_field_and_cancels_nothing(api: Api, body: Json, field: str, code: str) -> None:
    order_id = await resting(api)
    answer = await cancel_many(api, body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["field"], error["code"]) == (field, code)
    assert await api.desk.events(order_id) == ["CREATED"]
