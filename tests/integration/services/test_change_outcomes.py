"""What each outcome of a modify or cancel makes of the command and its order, whatever dies in between."""

import asyncio
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.core.orders import OrderType, Side
from app.core.outcomes import Accepted, Ambiguous, NotSent, PlaceOutcome, Refused, Throttled
from app.infra.ids import new_id
from app.keeper.dead_claims import DeadClaims
from app.keeper.order_changes import OrderChanges
from app.repositories.commands import Claim
from app.repositories.unit_of_work import Transaction
from app.services.order_executor import Later
from tests.harness.queue import eventually
from tests.integration.services.conftest import Floor

LIMIT: dict[str, Any] = {"order_type": OrderType.LIMIT, "price": Decimal("182.50"), "quantity": 20}


async def resting(floor: Floor, **changes: Any) -> UUID:  # noqa: ANN401
    """Return an order that rests at the broker as B7."""
    return await floor.desk.placed("B7", **(LIMIT | changes))


class Bells:
    """Keeps what the keeper rings."""

    def __init__(self) -> None:
        self.rings: list[Any] = []

    async def rering(self, rings: list[Any]) -> bool:
        self.rings += rings
        return True


async def keeper(floor: Floor) -> tuple[OrderChanges, Bells]:
    bells = Bells()
    return OrderChanges(uow=floor.desk.uow, doorbell=bells, lease=await floor.desk.lease()), bells  # type: ignore[arg-type]


CANCELS: list[tuple[PlaceOutcome, str, str, float | None]] = [
    (Accepted(broker_order_id="B7"), "DONE", "CANCEL_ACCEPTED", None),
    (Refused(code="AB1013", message="no such order"), "DONE", "CANCEL_REFUSED", None),
    (NotSent(reason="no connection"), "PENDING", "CANCEL_NOT_SENT", 0.2),
    (Throttled(reason="slow down", retry_after_s=1.5), "PENDING", "CANCEL_NOT_SENT", 1.5),
    (Ambiguous(reason="timed out"), "UNKNOWN", "CANCEL_UNKNOWN", None),
]
MODIFIES: list[tuple[PlaceOutcome, str, str, float | None]] = [
    (Accepted(broker_order_id="B7"), "DONE", "MODIFIED", None),
    (Refused(code="AB1004", message="bad"), "DONE", "MODIFY_REFUSED", None),
    (NotSent(reason="no connection"), "PENDING", "MODIFY_NOT_SENT", 0.2),
    (Throttled(reason="slow down", retry_after_s=1.5), "PENDING", "MODIFY_NOT_SENT", 1.5),
    (Ambiguous(reason="timed out"), "UNKNOWN", "MODIFY_UNKNOWN", None),
]


def waits(later: Later | None, delay_s: float | None) -> bool:
    if delay_s is None:
        return later is None
    return later is not None and delay_s <= later.delay_s <= delay_s * 1.25


@pytest.mark.parametrize(("outcome", "state", "event", "delay_s"), CANCELS)
async def test_each_outcome_of_a_cancel_is_recorded_and_none_of_them_is_the_cancel_itself(
    floor: Floor, outcome: PlaceOutcome, state: str, event: str, delay_s: float | None
) -> None:
    order_id = await resting(floor)
    await floor.desk.cancel(order_id)
    floor.broker.script = [outcome]
    assert waits(await floor.run_change(order_id, "CANCEL"), delay_s)
    assert floor.broker.cancelled == [("B7", OrderType.LIMIT)]
    assert await floor.desk.status(order_id) == "PLACED"
    assert await floor.change_state(order_id, "CANCEL") == (state, 1)
    assert await floor.desk.events(order_id) == ["CREATED", "CANCEL_REQUESTED", "CANCEL_CLAIMED", event]


async def test_phantom_cancel_requote(floor: Floor) -> None:
    """A broker's receipt for a cancel is not a cancel: the order stays open, and can be cancelled again."""
    order_id = await resting(floor)
    for _ in range(2):
        assert (await floor.desk.cancel(order_id)).result == "cancel_sent"
        assert await floor.run_change(order_id, "CANCEL") is None
        assert await floor.desk.status(order_id) == "PLACED"
    assert len(floor.broker.cancelled) == 2


@pytest.mark.parametrize(("outcome", "state", "event", "delay_s"), MODIFIES)
async def test_each_outcome_of_a_modify_is_recorded_and_only_the_brokers_yes_changes_the_terms(
    floor: Floor, outcome: PlaceOutcome, state: str, event: str, delay_s: float | None
) -> None:
    order_id = await resting(floor)
    await floor.desk.modify(order_id, price=Decimal("182.40"))
    floor.broker.script = [outcome]
    assert waits(await floor.run_change(order_id, "MODIFY"), delay_s)
    assert await floor.change_state(order_id, "MODIFY") == (state, 1)
    assert await floor.desk.events(order_id) == ["CREATED", "MODIFY_REQUESTED", "MODIFY_CLAIMED", event]
    order = await floor.desk.order(order_id)
    assert order.intent.price == Decimal("182.40" if event == "MODIFIED" else "182.50")
    assert order.status == "PLACED"


async def test_modify_does_not_flip_side_or_qty(floor: Floor) -> None:
    """A modify sends the order whole, with only what was asked for changed."""
    order_id = await resting(floor, side=Side.SELL)
    await floor.desk.modify(order_id, price=Decimal("182.40"))
    await floor.run_change(order_id, "MODIFY")
    await floor.desk.modify(order_id, quantity=30)
    await floor.run_change(order_id, "MODIFY")
    (first_id, first), (_, second) = floor.broker.modified
    assert first_id == "B7"
    assert (first.side, first.quantity, first.price) == (Side.SELL, 20, Decimal("182.40"))
    assert (second.side, second.quantity, second.price) == (Side.SELL, 30, Decimal("182.40"))
    assert (first.product, first.validity, first.order_type, first.trading_symbol, first.token) == (
        second.product,
        second.validity,
        OrderType.LIMIT,
        "YESBANK-EQ",
        "11915",
    )


async def filled(floor: Floor, order_id: UUID, quantity: int, status: str) -> None:
    await floor.desk.execute(
        "UPDATE orders SET filled_quantity = :n, status = :status, done_at = now() WHERE id = :id",
        n=quantity,
        status=status,
        id=order_id,
    )


TERMS: list[tuple[int, str, int, str, str]] = [
    # filled, status and new quantity when the broker says yes; event and status after it
    (20, "COMPLETE", 30, "RAISED", "PARTIALLY_FILLED"),
    (10, "PARTIALLY_FILLED", 30, "MODIFIED", "PARTIALLY_FILLED"),
    (15, "PARTIALLY_FILLED", 15, "LOWERED", "COMPLETE"),
    (10, "CANCELLED", 30, "MODIFIED", "CANCELLED"),
    (0, "REJECTED", 30, "MODIFIED", "REJECTED"),
    (0, "EXPIRED", 30, "MODIFIED", "EXPIRED"),
]


@pytest.mark.parametrize("terms", TERMS)
async def test_a_fill_or_an_end_that_overtook_the_brokers_yes_ends_in_the_true_state(
    floor: Floor, terms: tuple[int, str, int, str, str]
) -> None:
    traded, status, quantity, event, after = terms
    order_id = await resting(floor)
    await floor.desk.modify(order_id, quantity=quantity)

    async def overtaken(_: object) -> PlaceOutcome:
        await filled(floor, order_id, traded, status)
        return Accepted(broker_order_id="B7")

    floor.broker.script = [overtaken]
    await floor.run_change(order_id, "MODIFY")
    order = await floor.desk.order(order_id)
    assert (order.status, order.intent.quantity) == (after, quantity)
    assert (order.stages.done is None) == (after == "PARTIALLY_FILLED")
    assert (await floor.desk.events(order_id))[-1] == event


async def settle(tx: Transaction, command_id: UUID, *, seen: bool) -> bool:
    if seen:
        return await tx.commands.confirm_modify(command_id)
    return await tx.commands.deny_modify(command_id)


async def test_an_unknown_modify_is_settled_by_the_book_once(floor: Floor) -> None:
    for seen, price, event in ((True, "182.40", "MODIFIED"), (False, "182.50", "MODIFY_ABSENT")):
        order_id = await floor.desk.placed(f"B-{seen}", **LIMIT)
        await floor.desk.modify(order_id, price=Decimal("182.40"))
        command = await floor.change(order_id, "MODIFY")
        async with floor.desk.uow.statement() as tx:
            assert not await settle(tx, command["id"], seen=seen), "only what is UNKNOWN can be settled"
        floor.broker.script = [Ambiguous(reason="timed out")]
        await floor.run_change(order_id, "MODIFY")
        async with floor.desk.uow.statement() as tx:
            assert await settle(tx, command["id"], seen=seen)
            assert not await settle(tx, command["id"], seen=seen)
        assert await floor.change_state(order_id, "MODIFY") == ("DONE", 1)
        assert (await floor.desk.order(order_id)).intent.price == Decimal(price)
        assert (await floor.desk.events(order_id))[-1] == event


async def test_an_ambiguous_cancel_is_repeated_ever_more_slowly_and_parked_in_the_end(floor: Floor) -> None:
    order_id = await resting(floor)
    await floor.desk.cancel(order_id)
    changes, bells = await keeper(floor)
    for attempt in range(1, 21):
        floor.broker.script = [Ambiguous(reason="timed out")]
        await floor.run_change(order_id, "CANCEL")
        assert await floor.change_state(order_id, "CANCEL") == ("UNKNOWN", attempt)
        (row,) = await floor.desk.rows(
            "SELECT EXTRACT(EPOCH FROM ring_after - clock_timestamp()) AS s FROM order_commands WHERE kind = 'CANCEL'"
        )
        assert abs(float(row["s"]) - min(2.0 ** (attempt - 1), 30.0)) < 0.5
        if attempt < 20:
            await changes.turn()
            assert len(bells.rings) == attempt - 1, "not before its time"
        await floor.desk.execute("UPDATE order_commands SET ring_after = now() - interval '1 second'")
        await changes.turn()
    assert len(bells.rings) == 19
    assert await floor.change_state(order_id, "CANCEL") == ("PARKED", 20)
    (alert,) = await floor.desk.rows("SELECT kind, order_id FROM alerts WHERE closed_at IS NULL")
    assert (alert["kind"], alert["order_id"]) == ("COMMAND_PARKED", order_id)
    assert (await floor.desk.cancel(order_id)).result == "cancel_sent"
    assert await floor.change_state(order_id, "CANCEL") == ("PENDING", 0)


async def test_a_cancel_whose_worker_died_is_repeated_and_a_modifys_waits_for_evidence(floor: Floor) -> None:
    cancelled, modified = await resting(floor), await floor.desk.placed("B8", **LIMIT)
    await floor.desk.cancel(cancelled)
    await floor.desk.modify(modified, quantity=30)
    for order_id, kind in ((cancelled, "CANCEL"), (modified, "MODIFY")):
        command = await floor.change(order_id, kind)
        async with floor.desk.uow.statement() as tx:
            claim = await tx.commands.claim_change(command["id"], worker="dead", window_s=0.0)
        assert claim is not None
    lease = await floor.desk.lease()
    dead = DeadClaims(uow=floor.desk.uow, lease=lease, margin_s=0.0, bell=floor.desk.base.bell)
    await dead.turn()
    assert await floor.change_state(cancelled, "CANCEL") == ("UNKNOWN", 1)
    assert await floor.change_state(modified, "MODIFY") == ("UNKNOWN", 1)
    assert await floor.desk.status(cancelled) == await floor.desk.status(modified) == "PLACED"
    await floor.desk.execute("UPDATE order_commands SET ring_after = now() - interval '1 second'")
    changes = OrderChanges(uow=floor.desk.uow, doorbell=(bells := Bells()), lease=lease)  # type: ignore[arg-type]
    await changes.turn()
    assert [ring.command_id for ring in bells.rings] == [(await floor.change(cancelled, "CANCEL"))["id"]]
    assert await floor.run_change(modified, "MODIFY") is None
    assert floor.broker.modified == []
    assert await floor.run_change(cancelled, "CANCEL") is None
    assert await floor.change_state(cancelled, "CANCEL") == ("DONE", 2)


async def test_a_cancel_overtakes_an_unknown_modify(floor: Floor) -> None:
    order_id = await resting(floor)
    await floor.desk.modify(order_id, price=Decimal("182.40"))
    floor.broker.script = [Ambiguous(reason="timed out")]
    await floor.run_change(order_id, "MODIFY")
    assert (await floor.desk.cancel(order_id)).result == "cancel_sent"
    await floor.run_change(order_id, "CANCEL")
    assert await floor.change_state(order_id, "CANCEL") == ("DONE", 1)
    assert await floor.change_state(order_id, "MODIFY") == ("UNKNOWN", 1)
    await floor.desk.execute("UPDATE orders SET status = 'CANCELLED'")
    changes, _ = await keeper(floor)
    await changes.turn()
    assert await floor.change_state(order_id, "MODIFY") == ("DONE", 1)
    assert (await floor.desk.events(order_id))[-1] == "MODIFY_DROPPED"


async def test_a_cancel_waits_for_the_modify_that_is_on_its_way(floor: Floor) -> None:
    order_id = await resting(floor)
    await floor.desk.modify(order_id, price=Decimal("182.40"))
    go_on = asyncio.Event()

    async def slow(_: object) -> PlaceOutcome:
        await go_on.wait()
        return Accepted(broker_order_id="B7")

    floor.broker.script = [slow]
    running = asyncio.create_task(floor.run_change(order_id, "MODIFY"))
    await eventually(lambda: bool(floor.broker.modified))
    assert (await floor.desk.cancel(order_id)).result == "cancel_sent"
    assert await floor.run_change(order_id, "CANCEL", floor.another_executor("w2")) == Later(0.2)
    assert floor.broker.cancelled == []
    go_on.set()
    await running
    assert await floor.run_change(order_id, "CANCEL") is None
    assert len(floor.broker.cancelled) == 1


BLOCKED = "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


async def test_a_claim_that_waited_while_the_other_command_was_claimed_gets_nothing(floor: Floor) -> None:
    order_id = await resting(floor)
    await floor.desk.modify(order_id, price=Decimal("182.40"))
    modify = await floor.change(order_id, "MODIFY")
    await floor.desk.execute(
        "INSERT INTO order_commands (id, order_id, account_id, kind, state, urgency, band, attempt, ring_after) "
        "SELECT gen_random_uuid(), order_id, account_id, 'CANCEL', 'PENDING', 'HIGH', 1, 0, now() "
        "FROM order_commands WHERE id = :id",
        id=modify["id"],
    )
    cancel = await floor.change(order_id, "CANCEL")

    async def claim_cancel() -> Claim | None:
        async with floor.desk.uow.statement() as tx:
            return await tx.commands.claim_change(cancel["id"], worker="w2", window_s=5.0)

    async def blocked() -> bool:
        return bool((await floor.desk.rows(BLOCKED))[0]["n"])

    async with floor.desk.uow.transaction() as tx:
        assert await tx.commands.claim_change(modify["id"], worker="w1", window_s=5.0)
        waiting = asyncio.create_task(claim_cancel())
        await eventually(blocked)
    assert await waiting is None
    assert await floor.change_state(order_id, "CANCEL") == ("PENDING", 0)


async def test_a_bell_of_a_command_that_is_not_there_does_nothing(floor: Floor) -> None:
    account = await floor.desk.account_named()
    assert await floor.executor.run(command_id=new_id(), account_id=account.id, rung_at=None) is None


async def test_a_change_rung_twice_is_sent_once(floor: Floor) -> None:
    order_id = await resting(floor)
    await floor.desk.cancel(order_id)
    executors = [floor.another_executor(f"w{n}") for n in range(8)]
    await asyncio.gather(*(floor.run_change(order_id, "CANCEL", one) for one in executors))
    assert len(floor.broker.cancelled) == 1
    assert await floor.change_state(order_id, "CANCEL") == ("DONE", 1)


@pytest.mark.parametrize("kind", ["MODIFY", "CANCEL"])
async def test_a_change_of_an_order_that_is_over_is_dropped_unsent(floor: Floor, kind: str) -> None:
    order_id = await resting(floor)
    await (floor.desk.cancel(order_id) if kind == "CANCEL" else floor.desk.modify(order_id, quantity=30))
    await floor.desk.execute("UPDATE orders SET status = 'COMPLETE', filled_quantity = quantity")
    assert await floor.run_change(order_id, kind) is None
    assert await floor.change_state(order_id, kind) == ("DONE", 0)
    assert (await floor.desk.events(order_id))[-1] == f"{kind}_DROPPED"
    assert not floor.broker.cancelled
    assert not floor.broker.modified


async def test_a_raise_of_which_nobody_knows_outlives_the_last_fill_of_the_old_quantity(floor: Floor) -> None:
    order_id = await resting(floor)
    await floor.desk.modify(order_id, quantity=30)
    floor.broker.script = [Ambiguous(reason="timed out")]
    await floor.run_change(order_id, "MODIFY")
    await filled(floor, order_id, 20, "COMPLETE")
    changes, _ = await keeper(floor)
    await changes.turn()
    command = await floor.change(order_id, "MODIFY")
    assert command["state"] == "UNKNOWN"
    async with floor.desk.uow.statement() as tx:
        assert await tx.commands.confirm_modify(command["id"])
    assert await floor.desk.status(order_id) == "PARTIALLY_FILLED"


@pytest.mark.parametrize("asked_at", ["before the last fill", "after the last fill"])
@pytest.mark.parametrize("sent", [1, 0], ids=["raised", "not raised"])
async def test_a_cancel_outlives_the_last_fill_while_nobody_knows_whether_the_order_was_raised(
    floor: Floor, asked_at: str, sent: int
) -> None:
    order_id = await resting(floor)
    await floor.desk.modify(order_id, quantity=30)
    floor.broker.script = [Ambiguous(reason="timed out")]
    await floor.run_change(order_id, "MODIFY")
    if asked_at == "before the last fill":
        await floor.desk.cancel(order_id)
    await filled(floor, order_id, 20, "COMPLETE")
    if asked_at == "after the last fill":
        assert (await floor.desk.cancel(order_id)).result == "cancel_sent"
    await floor.run_change(order_id, "CANCEL")
    changes, _ = await keeper(floor)
    await changes.turn()
    modify = await floor.change(order_id, "MODIFY")
    assert (modify["state"], await floor.change_state(order_id, "CANCEL")) == ("UNKNOWN", ("PENDING", 0))
    async with floor.desk.uow.statement() as tx:
        settle = tx.commands.confirm_modify if sent else tx.commands.deny_modify
        assert await settle(modify["id"])
    await changes.turn()
    await floor.run_change(order_id, "CANCEL")
    assert floor.broker.cancelled == [("B7", OrderType.LIMIT)] * sent
    assert await floor.change_state(order_id, "CANCEL") == ("DONE", sent)


@pytest.mark.parametrize("why", ["blocked", "paused"])
async def test_an_entry_is_not_raised_while_its_account_takes_no_entries(floor: Floor, why: str) -> None:
    """Raising the quantity is another entry. What was asked for before the block waits; all else goes on."""
    asked_before, order_id = await floor.desk.placed("B8", **LIMIT), await resting(floor)
    await floor.desk.modify(asked_before, quantity=30)
    account = await floor.desk.account_named()
    if why == "blocked":
        await floor.desk.execute(
            "INSERT INTO account_blocks (account_id, reason, detail) VALUES (:id, 'ORPHAN', 'x')", id=account.id
        )
    else:
        await floor.desk.pause(account)
    assert (await floor.desk.modify(order_id, quantity=30)).refusal_code == f"account_{why}"
    assert (await floor.desk.modify(order_id, quantity=15)).result == "modify_sent"
    await floor.run_change(asked_before, "MODIFY")
    await floor.run_change(order_id, "MODIFY")
    assert [(broker_id, request.quantity) for broker_id, request in floor.broker.modified] == [("B7", 15)]
    assert await floor.change_state(asked_before, "MODIFY") == ("PENDING", 0)
    await floor.desk.execute("UPDATE orders SET purpose = 'EXIT' WHERE id = :id", id=asked_before)
    await floor.run_change(asked_before, "MODIFY")
    assert len(floor.broker.modified) == 2


async def test_paused_and_blocked_accounts_still_cancel_and_modify_but_place_no_entries(floor: Floor) -> None:
    entry, order_id = await floor.desk.place(**LIMIT), await resting(floor)
    account = await floor.desk.account_named()
    await floor.desk.modify(order_id, price=Decimal("182.40"))
    await floor.desk.execute(
        "INSERT INTO account_blocks (account_id, reason, detail) VALUES (:id, 'ORPHAN', 'x')", id=account.id
    )
    await floor.run(entry)
    assert await floor.state(entry) == ("PENDING", "PENDING", 0)
    await floor.desk.execute("UPDATE orders SET purpose = 'EXIT' WHERE id = :id", id=entry.order_id)
    await floor.run(entry)
    assert await floor.state(entry) == ("PLACED", "DONE", 1)
    await floor.desk.pause(account)
    await floor.run_change(order_id, "MODIFY")
    await floor.desk.cancel(order_id)
    await floor.run_change(order_id, "CANCEL")
    assert (len(floor.broker.modified), len(floor.broker.cancelled)) == (1, 1)


async def test_a_placement_that_had_all_its_attempts_is_parked_with_an_alert_and_not_sent_again(floor: Floor) -> None:
    answer = await floor.desk.place()
    await floor.desk.execute("UPDATE order_commands SET attempt = 49")
    floor.broker.script = [NotSent(reason="no connection")]
    later = await floor.run(answer)
    assert later is not None
    assert later.delay_s >= 5.0
    assert await floor.run(answer) is None
    assert await floor.state(answer) == ("PENDING", "PARKED", 50)
    assert (await floor.desk.events(answer.order_id))[-1] == "PARKED"
    assert len(await floor.desk.rows("SELECT 1 FROM alerts WHERE kind = 'COMMAND_PARKED'")) == 1
    assert await floor.run(answer) is None
    assert len(floor.broker.received) == 1
