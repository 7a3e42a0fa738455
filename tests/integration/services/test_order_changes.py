"""Asking for changes and cancels: decided once under the order's lock, answered once per key, held while unknown."""

import asyncio
import hashlib
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.core.errors import InvalidOrder
from app.core.orders import OrderStatus, OrderType, Purpose, Side, Urgency
from app.core.outcomes import Accepted, Ambiguous, NotSent, PlaceOutcome, Refused
from app.infra.ids import new_id
from app.keeper.order_changes import OrderChanges
from app.repositories.order_changes import CancelFilter
from app.services import order_changes
from app.services.change_answers import Asked, CancelManyAnswer
from app.services.order_changes import UnknownOrder
from app.services.orders import IdempotencyConflict
from tests.harness.desk import Desk, asked
from tests.harness.queue import eventually
from tests.integration.services.conftest import Floor

LIMIT: dict[str, Any] = {"order_type": OrderType.LIMIT, "price": Decimal("182.50"), "quantity": 20}


async def test_an_order_that_was_not_sent_is_cancelled_at_once_and_never_reaches_the_broker(floor: Floor) -> None:
    answer = await floor.desk.place()
    changed = await floor.desk.cancel(answer.order_id)
    assert (changed.result, changed.status) == ("cancelled", OrderStatus.CANCELLED)
    assert await floor.state(answer) == ("CANCELLED", "DONE", 0)
    assert await floor.desk.events(answer.order_id) == ["CREATED", "CANCELLED_UNSENT"]
    assert await floor.run(answer) is None
    assert floor.broker.received == []
    (event,) = await floor.desk.rows("SELECT actor FROM order_events WHERE event = 'CANCELLED_UNSENT'")
    assert event["actor"] == "user:test"


async def test_an_order_that_was_not_sent_is_sent_with_its_new_terms_and_never_modified(floor: Floor) -> None:
    answer = await floor.desk.place(**LIMIT)
    changed = await floor.desk.modify(answer.order_id, price=Decimal("182.40"), quantity=30)
    assert (changed.result, changed.quantity, changed.price) == ("modified", 30, Decimal("182.40"))
    await floor.run(answer)
    (request,) = floor.broker.received
    assert (request.quantity, request.price) == (30, Decimal("182.40"))
    assert floor.broker.modified == []
    assert await floor.desk.events(answer.order_id) == ["CREATED", "MODIFIED", "CLAIMED", "ACCEPTED"]


@pytest.mark.parametrize("what", ["cancel", "modify"])
async def test_a_race_with_the_claim_is_decided_once(floor: Floor, what: str) -> None:
    """Either the broker never sees the order as it was, or the wish finds it on its way."""
    for _ in range(12):
        answer = await floor.desk.place(**LIMIT)
        wish = (
            floor.desk.cancel(answer.order_id)
            if what == "cancel"
            else floor.desk.modify(answer.order_id, price=Decimal("182.40"))
        )
        sent_before = len(floor.broker.received)
        changed, _later = await asyncio.gather(wish, floor.run(answer))
        sent = floor.broker.received[sent_before:]
        status = await floor.desk.status(answer.order_id)
        if changed.result == "cancelled":
            assert (sent, status) == ([], "CANCELLED")
        elif changed.result == "modified":
            assert [request.price for request in sent] == [Decimal("182.40")]
        else:
            assert changed.result in {"cancel_sent", "held", "modify_sent"} or changed.refusal_code == "order_in_flight"
            assert [request.price for request in sent] == [Decimal("182.50")]


async def test_of_twenty_cancels_at_once_one_becomes_a_command(floor: Floor) -> None:
    order_id = await floor.desk.placed("B7", **LIMIT)
    answers = await asyncio.gather(*(floor.desk.cancel(order_id) for _ in range(20)))
    assert {answer.result for answer in answers} == {"cancel_sent"}
    assert len(await floor.desk.rows("SELECT 1 FROM order_commands WHERE kind = 'CANCEL'")) == 1
    assert await floor.desk.events(order_id) == ["CREATED", "CANCEL_REQUESTED"]


async def test_of_twenty_modifies_at_once_one_becomes_a_command(floor: Floor) -> None:
    order_id = await floor.desk.placed("B7", **LIMIT)
    answers = await asyncio.gather(*(floor.desk.modify(order_id, quantity=21 + n) for n in range(20)))
    codes = sorted(str(answer.refusal_code) for answer in answers)
    assert codes == ["None"] + ["change_in_flight"] * 19
    assert len(await floor.desk.rows("SELECT 1 FROM order_commands WHERE kind = 'MODIFY'")) == 1


async def test_a_cancel_is_urgent_and_rings_and_drops_a_modify_that_waits(floor: Floor) -> None:
    order_id = await floor.desk.placed("B7", **LIMIT)
    stop = await floor.desk.placed("B8", urgency=Urgency.STOP_LOSS)
    floor.desk.doorbell.rings.clear()
    await floor.desk.modify(order_id, price=Decimal("182.40"))
    await floor.desk.cancel(order_id)
    await floor.desk.cancel(stop)
    assert [ring.urgency for ring in floor.desk.doorbell.rings] == [Urgency.NORMAL, Urgency.HIGH, Urgency.STOP_LOSS]
    assert await floor.change_state(order_id, "MODIFY") == ("DONE", 0)
    assert (await floor.desk.events(order_id))[1:] == ["MODIFY_REQUESTED", "MODIFY_DROPPED", "CANCEL_REQUESTED"]


async def a_placement_in_flight(floor: Floor, outcome: PlaceOutcome) -> tuple[UUID, asyncio.Task[Any], asyncio.Event]:
    """Start placing an order; the broker answers when the event is set."""
    answer = await floor.desk.place(**LIMIT)
    assert answer.order_id is not None
    go_on = asyncio.Event()

    async def slow(_: object) -> PlaceOutcome:
        await go_on.wait()
        return outcome

    floor.broker.script = [slow]
    running = asyncio.create_task(floor.run(answer))
    await eventually(lambda: bool(floor.broker.received))
    return answer.order_id, running, go_on


HELD: list[tuple[PlaceOutcome, str, str, str]] = [
    (Accepted(broker_order_id="B1"), "PLACED", "PENDING", "ACCEPTED"),
    (NotSent(reason="no connection"), "CANCELLED", "DONE", "CANCELLED_UNSENT"),
    (Refused(code="AB1", message="no"), "REJECTED", "DONE", "CANCEL_DROPPED"),
    (Ambiguous(reason="timed out"), "UNKNOWN", "HELD", "AMBIGUOUS"),
]


@pytest.mark.parametrize(("outcome", "status", "state", "event"), HELD)
async def test_a_cancel_while_placing_is_held_and_released_when_the_placement_is_settled(
    floor: Floor, outcome: PlaceOutcome, status: str, state: str, event: str
) -> None:
    order_id, running, go_on = await a_placement_in_flight(floor, outcome)
    assert (await floor.desk.cancel(order_id)).result == "held"
    assert (await floor.desk.cancel(order_id)).result == "held"
    refused = await floor.desk.modify(order_id, quantity=30)
    assert refused.refusal_code == "change_in_flight"
    floor.desk.doorbell.rings.clear()
    go_on.set()
    await running
    assert await floor.desk.status(order_id) == status
    assert await floor.change_state(order_id, "CANCEL") == (state, 0)
    assert (await floor.desk.events(order_id))[-1] == event
    assert len(floor.desk.doorbell.rings) == (1 if state == "PENDING" else 0)
    if state == "PENDING":
        await floor.run_change(order_id, "CANCEL")
        assert [broker_id for broker_id, _ in floor.broker.cancelled] == ["B1"]
    assert len(floor.broker.received) == 1


class Bells:
    def __init__(self) -> None:
        self.rings: list[Any] = []

    async def rering(self, rings: list[Any]) -> bool:
        self.rings += rings
        return True


@pytest.mark.parametrize(
    ("status", "state", "rings"),
    [("PLACED", "PENDING", 1), ("PENDING", "DONE", 0), ("COMPLETE", "DONE", 0), ("UNKNOWN", "HELD", 0)],
)
async def test_the_keeper_releases_what_a_worker_that_died_has_left(
    floor: Floor, status: str, state: str, rings: int
) -> None:
    answer = await floor.desk.place(**LIMIT)
    await floor.desk.execute("UPDATE orders SET status = 'UNKNOWN'")
    await floor.desk.cancel(answer.order_id)
    await floor.desk.execute("UPDATE orders SET status = :status", status=status)
    bells = Bells()
    keeper = OrderChanges(uow=floor.desk.uow, doorbell=bells, lease=await floor.desk.lease())  # type: ignore[arg-type]
    await keeper.turn()
    assert await floor.change_state(answer.order_id, "CANCEL") == (state, 0)
    assert len(bells.rings) == rings
    assert await floor.desk.status(answer.order_id) == ("CANCELLED" if status == "PENDING" else status)


async def test_an_order_that_is_wanted_cancelled_is_not_sent_again_whoever_comes_first(floor: Floor) -> None:
    answer = await floor.desk.place(**LIMIT)
    await floor.desk.execute("UPDATE orders SET status = 'UNKNOWN'")
    await floor.desk.cancel(answer.order_id)
    await floor.desk.execute("UPDATE orders SET status = 'PENDING'")
    assert await floor.run(answer) is None
    assert await floor.state(answer) == ("CANCELLED", "DONE", 0)
    assert floor.broker.received == []


async def test_the_same_key_gets_the_same_answer_whatever_has_become_of_the_order(floor: Floor) -> None:
    order_id = await floor.desk.placed("B7", **LIMIT)
    first = await floor.desk.modify(order_id, key="m1", price=Decimal("182.40"))
    await floor.run_change(order_id, "MODIFY")
    again = await floor.desk.modify(order_id, key="m1", price=Decimal("182.40"))
    assert (again.replayed, again.result, again.price) == (True, first.result, Decimal("182.50"))
    assert len(await floor.desk.rows("SELECT 1 FROM order_commands WHERE kind = 'MODIFY'")) == 1
    await floor.desk.execute("UPDATE orders SET status = 'COMPLETE'")
    refused = await floor.desk.cancel(order_id, key="c1")
    assert refused.refusal_code == "order_over"
    await floor.desk.execute("UPDATE orders SET status = 'PLACED'")
    assert (await floor.desk.cancel(order_id, key="c1")).refusal_code == "order_over"


async def test_a_key_of_another_wish_is_a_conflict_and_nothing_is_done(floor: Floor) -> None:
    order_id, other = await floor.desk.placed("B7", **LIMIT), await floor.desk.placed("B8", **LIMIT)
    await floor.desk.cancel(order_id, key="k1")
    changed_body = Asked(caller="user:test", key="k1", body_hash=hashlib.sha256(b"another").digest())
    for wish in (
        floor.desk.order_changes.cancel(other, changed_body),
        floor.desk.order_changes.cancel(new_id(), changed_body),
        floor.desk.order_changes.cancel_many(
            CancelFilter((await floor.desk.account_named()).id), account="paper", asked=changed_body
        ),
    ):
        with pytest.raises(IdempotencyConflict):
            await wish
    assert await floor.desk.events(other) == ["CREATED"]


async def test_one_key_for_two_orders_at_once_moves_one_of_them(floor: Floor) -> None:
    ids = [await floor.desk.placed(f"B{n}", **LIMIT) for n in range(8)]

    async def cancel(order_id: UUID) -> object:
        body_hash = hashlib.sha256(str(order_id).encode()).digest()
        try:
            return await floor.desk.order_changes.cancel(
                order_id, Asked(caller="user:test", key="same", body_hash=body_hash)
            )
        except IdempotencyConflict:
            return None

    done = [answer for answer in await asyncio.gather(*map(cancel, ids)) if answer]
    assert len(done) == 1
    assert len(await floor.desk.rows("SELECT 1 FROM order_commands WHERE kind = 'CANCEL'")) == 1


async def test_unknown_ids_wrong_accounts_and_empty_wishes(floor: Floor) -> None:
    order_id = await floor.desk.placed("B7", **LIMIT)
    with pytest.raises(UnknownOrder):
        await floor.desk.cancel(new_id())
    with pytest.raises(InvalidOrder):
        await floor.desk.modify(order_id)
    refused = await floor.desk.order_changes.cancel(order_id, asked(account="other"))
    assert refused.refusal_code == "wrong_account"
    assert (await floor.desk.order_changes.cancel(order_id, asked(account="paper"))).result == "cancel_sent"


async def test_an_invalid_change_is_not_stored_so_the_key_may_be_used_again(floor: Floor) -> None:
    order_id = await floor.desk.placed("B7", **LIMIT)
    with pytest.raises(InvalidOrder):
        await floor.desk.modify(order_id, key="m1", price=Decimal("182.51"))
    assert (await floor.desk.modify(order_id, key="m1", price=Decimal("182.55"))).result == "modify_sent"


async def test_an_order_found_at_the_broker_is_cancelled_like_our_own(floor: Floor) -> None:
    order_id = await floor.desk.placed("X1", **LIMIT)
    await floor.desk.execute("UPDATE orders SET origin = 'EXTERNAL', client_order_id = 'external/X1', tag = 'X:X1'")
    await floor.desk.execute("DELETE FROM order_commands")
    await floor.desk.cancel(order_id)
    await floor.run_change(order_id, "CANCEL")
    assert floor.broker.cancelled == [("X1", OrderType.LIMIT)]


async def cancel_many(desk: Desk, *, key: str | None = None, **filters: Any) -> CancelManyAnswer:  # noqa: ANN401
    wanted = CancelFilter(account_id=(await desk.account_named()).id, **filters)
    return await desk.order_changes.cancel_many(wanted, account="paper", asked=asked(key))


async def test_a_bulk_cancel_says_what_became_of_each_order_and_leaves_others_alone(floor: Floor) -> None:
    await floor.desk.add_account("other")
    elsewhere = await floor.desk.placed("B5", account="other", **LIMIT)
    waiting = (await floor.desk.place(**LIMIT)).order_id
    resting = await floor.desk.placed("B1", **LIMIT)
    unknown = (await floor.desk.place(**LIMIT)).order_id
    await floor.desk.execute("UPDATE orders SET status = 'UNKNOWN' WHERE id = :id", id=unknown)
    over = await floor.desk.placed("B2", **LIMIT)
    await floor.desk.execute("UPDATE orders SET status = 'COMPLETE' WHERE id = :id", id=over)
    sell = await floor.desk.placed("B3", **(LIMIT | {"side": Side.SELL}))
    exit_ = await floor.desk.placed("B4", **LIMIT)
    await floor.desk.execute("UPDATE orders SET purpose = 'EXIT' WHERE id = :id", id=exit_)

    answer = await cancel_many(floor.desk, key="many", side=Side.BUY, purpose=Purpose.ENTRY)
    assert [(one.order_id, one.result, one.status) for one in answer.results] == [
        (waiting, "cancelled", "CANCELLED"),
        (resting, "cancel_sent", "PLACED"),
        (unknown, "held", "UNKNOWN"),
    ]
    assert not answer.more
    assert await floor.desk.events(sell) == await floor.desk.events(elsewhere) == ["CREATED"]
    again = await cancel_many(floor.desk, key="many", side=Side.BUY, purpose=Purpose.ENTRY)
    assert (again.replayed, again.results) == (True, answer.results)
    rest = await cancel_many(floor.desk, instrument_id=floor.desk.instruments["YESBANK"].id)
    assert {one.order_id for one in rest.results} == {sell, exit_}
    assert (await cancel_many(floor.desk, strategy_id=new_id())).results == ()


async def test_a_bulk_cancel_stops_at_its_bound_and_goes_on_when_asked_again(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_changes, "CANCEL_MANY_MAX", 5)
    monkeypatch.setattr(order_changes, "CANCEL_BATCH", 2)
    ids = [await floor.desk.placed(f"B{n}", **LIMIT) for n in range(7)]
    first, second = await cancel_many(floor.desk), await cancel_many(floor.desk)
    assert [one.order_id for one in first.results] == ids[:5]
    assert [one.order_id for one in second.results] == ids[5:]
    assert (first.more, second.more) == (True, False)


async def test_the_same_bulk_cancel_twice_at_once_has_one_answer(floor: Floor) -> None:
    ids = [await floor.desk.placed(f"B{n}", **LIMIT) for n in range(6)]
    answers = await asyncio.gather(*(cancel_many(floor.desk, key="many") for _ in range(4)))
    assert len({answer.results for answer in answers}) == 1
    rows = await floor.desk.rows("SELECT DISTINCT order_id FROM order_commands WHERE kind = 'CANCEL'")
    assert {row["order_id"] for row in rows} == set(ids)
