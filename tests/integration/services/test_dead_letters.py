"""Dead letters: what can go no further is parked with its reason, and only a person moves it on."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy.exc import InterfaceError

from app.core.instruments import Exchange
from app.core.orders import Purpose, Side, Urgency
from app.core.outcomes import NotSent
from app.keeper.refused_entries import RefusedEntries
from app.keeper.waiting_exits import WaitingExits
from app.repositories.leases import LeaseLost
from app.services.dead_letters import DeadLetters, NotParked
from app.services.order_executor import Later
from app.services.orders import OrderAnswer
from app.services.poison import CRASHES_MAX, PoisonGuard
from tests.harness.desk import Desk
from tests.integration.services.conftest import Floor
from tests.integration.services.test_admission import hold, set_session


def letters(desk: Desk) -> DeadLetters:
    return DeadLetters(uow=desk.uow, doorbell=desk.doorbell)


async def command_id(desk: Desk, answer: OrderAnswer) -> UUID:
    return UUID(str((await desk.command(answer.order_id))["id"]))


async def parked(desk: Desk, answer: OrderAnswer, reason: str = "poison: X") -> UUID:
    found = await command_id(desk, answer)
    assert await letters(desk).park(found, reason=reason, actor="w1")
    return found


async def open_alerts(desk: Desk, kind: str) -> list[str]:
    rows = await desk.rows("SELECT subject FROM alerts WHERE kind = :k AND closed_at IS NULL", k=kind)
    return [row["subject"] for row in rows]


async def audited(desk: Desk) -> list[tuple[str, str, str]]:
    rows = await desk.rows("SELECT actor, action, reason FROM audit_log ORDER BY id")
    return [(row["actor"], row["action"], row["reason"]) for row in rows]


async def test_a_parked_command_is_not_sent_until_a_person_requeues_it(floor: Floor) -> None:
    answer = await floor.desk.place()
    found = await parked(floor.desk, answer)
    assert await floor.run(answer) is None
    assert floor.broker.received == []
    assert await open_alerts(floor.desk, "COMMAND_PARKED") == [str(found)]
    async with floor.desk.uow.statement() as tx:
        (letter,) = await tx.dead_letters.page(account_id=None, before=None, limit=10)
        assert await tx.dead_letters.count() == 1
    assert (letter.command_id, letter.reason, letter.status.value) == (found, "poison: X", "PENDING")
    assert letter.parked_at is not None
    floor.desk.doorbell.rings.clear()
    await letters(floor.desk).requeue(found, actor="user:admin", reason="fixed")
    assert [ring.command_id for ring in floor.desk.doorbell.rings] == [found]
    assert await open_alerts(floor.desk, "COMMAND_PARKED") == []
    assert await audited(floor.desk) == [("user:admin", "dead_letter.requeue", "fixed")]
    await floor.run(answer)
    assert await floor.state(answer) == ("PLACED", "DONE", 1)
    assert await floor.desk.events(answer.order_id) == ["CREATED", "PARKED", "REQUEUED", "CLAIMED", "ACCEPTED"]


async def test_a_closed_dead_letter_cancels_its_order_which_is_never_sent(floor: Floor) -> None:
    answer = await floor.desk.place()
    found = await parked(floor.desk, answer)
    assert await letters(floor.desk).close(found, actor="user:admin", reason="too late") == answer.order_id
    assert await floor.state(answer) == ("CANCELLED", "DONE", 0)
    order = await floor.desk.order(answer.order_id)
    assert order.stages.done is not None
    assert await floor.desk.events(answer.order_id) == ["CREATED", "PARKED", "CANCELLED_UNSENT"]
    assert await open_alerts(floor.desk, "COMMAND_PARKED") == []
    assert await floor.run(answer) is None
    assert floor.broker.received == []
    for again in (letters(floor.desk).close, letters(floor.desk).requeue):
        with pytest.raises(NotParked):
            await again(found, actor="user:admin", reason="twice")
    assert len(await audited(floor.desk)) == 1


async def test_a_parked_cancel_that_is_closed_leaves_its_order_as_it_is(plain_desk: Desk) -> None:
    order_id = await plain_desk.placed("B1")
    await plain_desk.execute(
        "INSERT INTO order_commands (id, order_id, account_id, kind, state, urgency, band, attempt, ring_after)"
        " SELECT gen_random_uuid(), id, account_id, 'CANCEL', 'PENDING', 'HIGH', 1, 20, now() FROM orders"
    )
    (row,) = await plain_desk.rows("SELECT id FROM order_commands WHERE kind = 'CANCEL'")
    assert await letters(plain_desk).park(row["id"], reason="too_many_attempts", actor="w1")
    await letters(plain_desk).requeue(row["id"], actor="user:admin", reason="again")
    (again,) = await plain_desk.rows("SELECT * FROM order_commands WHERE kind = 'CANCEL'")
    assert (again["state"], again["attempt"], again["attempt_limit"]) == ("PENDING", 20, 40)
    assert await letters(plain_desk).park(row["id"], reason="too_many_attempts", actor="w1")
    await letters(plain_desk).close(row["id"], actor="user:admin", reason="let it rest")
    assert await plain_desk.status(order_id) == "PLACED"
    assert (await plain_desk.events(order_id))[-1] == "CANCEL_DROPPED"


async def test_only_what_waits_is_parked(floor: Floor) -> None:
    answer = await floor.desk.place()
    await floor.run(answer)
    assert not await letters(floor.desk).park(await command_id(floor.desk, answer), reason="x", actor="w1")
    assert await floor.state(answer) == ("PLACED", "DONE", 1)
    assert not await letters(floor.desk).park(UUID(int=0), reason="x", actor="w1")


class Crashing:
    """Carries nothing: every command ends as told."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def run(
        self, *, command_id: UUID, account_id: UUID, urgency: Urgency, exchange: Exchange, rung_at: datetime | None
    ) -> Later | None:
        raise self.errors.pop(0)


async def carry(desk: Desk, answer: OrderAnswer, *errors: Exception) -> int:
    """Let a command crash so often; returns after how many of them it was parked, 0 for never."""
    guard = PoisonGuard(Crashing(*errors), uow=desk.uow, letters=letters(desk), worker="w1")
    command = await desk.command(answer.order_id)
    for number, error in enumerate(errors, 1):
        try:
            await guard.run(
                command_id=command["id"],
                account_id=command["account_id"],
                urgency=Urgency.NORMAL,
                exchange=Exchange.NSE,
                rung_at=datetime.now(UTC),
            )
        except type(error):
            continue
        return number
    return 0


async def test_a_command_that_crashes_whoever_carries_it_is_parked_as_poison(plain_desk: Desk) -> None:
    answer = await plain_desk.place()
    assert await carry(plain_desk, answer, *[ValueError("odd")] * 10) == CRASHES_MAX
    command = await plain_desk.command(answer.order_id)
    assert (command["state"], command["reason"]) == ("PARKED", "poison: ValueError: odd")
    await letters(plain_desk).requeue(command["id"], actor="user:admin", reason="mended")
    assert await carry(plain_desk, answer, *[ValueError("odd")] * (CRASHES_MAX - 1)) == 0


async def test_crashes_of_other_kinds_and_of_servers_do_not_make_poison(plain_desk: Desk) -> None:
    answer = await plain_desk.place()
    mixed: list[Exception] = [ValueError("a"), KeyError("b")] * CRASHES_MAX
    assert await carry(plain_desk, answer, *mixed) == 0
    away: list[Exception] = [ConnectionResetError("gone")] * 10
    assert await carry(plain_desk, answer, *away) == 0
    lost: list[Exception] = [InterfaceError("s", {}, ConnectionRefusedError())] * 10
    assert await carry(plain_desk, answer, *lost) == 0
    assert (await plain_desk.command(answer.order_id))["state"] == "PENDING"


async def test_entries_that_wait_for_a_login_too_long_are_parked_and_exits_wait_on(plain_desk: Desk) -> None:
    await hold(plain_desk, 10)
    entry = await plain_desk.place()
    out = await plain_desk.place(side=Side.SELL, purpose=Purpose.EXIT)
    duty = RefusedEntries(uow=plain_desk.uow, lease=await plain_desk.lease())
    await set_session(plain_desk, "LOGGED_IN", over=-3600)
    await plain_desk.execute("UPDATE orders SET saved_at = now() - interval '2 minutes'")
    await duty.turn()
    assert (await plain_desk.command(entry.order_id))["state"] == "PENDING"  # it waits for something else
    await set_session(plain_desk, "EXPIRED", changed=59)
    await duty.turn()
    assert (await plain_desk.command(entry.order_id))["state"] == "PENDING"  # not long enough
    await set_session(plain_desk, "EXPIRED", changed=61)
    await duty.turn()
    command = await plain_desk.command(entry.order_id)
    assert (command["state"], command["reason"]) == ("PARKED", "broker_logged_out")
    assert (await plain_desk.command(out.order_id))["state"] == "PENDING"
    assert await open_alerts(plain_desk, "COMMAND_PARKED") == [str(command["id"])]
    # Whatever else ends the command, its alert goes with it.
    await plain_desk.execute("UPDATE order_commands SET state = 'DONE' WHERE state = 'PARKED'")
    await duty.turn()
    assert await open_alerts(plain_desk, "COMMAND_PARKED") == []


async def test_an_exit_that_waits_is_told_of_until_it_is_sent(floor: Floor) -> None:
    await hold(floor.desk, 10)
    answer = await floor.desk.place(side=Side.SELL, purpose=Purpose.EXIT)
    duty = WaitingExits(uow=floor.desk.uow, lease=await floor.desk.lease())
    await duty.turn()
    assert await open_alerts(floor.desk, "EXIT_WAITING") == []
    await floor.desk.execute("UPDATE orders SET saved_at = now() - interval '11 seconds'")
    floor.broker.script = [NotSent(reason="no connection")]
    await floor.run(answer)
    for _ in range(2):
        await duty.turn()
    assert await open_alerts(floor.desk, "EXIT_WAITING") == [str(answer.order_id)]
    (alert,) = await floor.desk.rows("SELECT severity, message, count FROM alerts")
    assert alert["severity"] == "CRITICAL"
    assert "(SELL 10) of account paper" in alert["message"]
    await floor.run(answer)
    assert await floor.desk.status(answer.order_id) == "PLACED"
    await duty.turn()
    assert await open_alerts(floor.desk, "EXIT_WAITING") == []


async def test_a_keeper_that_lost_its_lease_neither_parks_nor_tells(plain_desk: Desk) -> None:
    old = await plain_desk.lease(holder="old", ttl_s=0.0)
    await plain_desk.lease(holder="new")
    for duty in (RefusedEntries(uow=plain_desk.uow, lease=old), WaitingExits(uow=plain_desk.uow, lease=old)):
        with pytest.raises(LeaseLost):
            await duty.turn()
