"""A claim dies by database time alone, and what is known of its order is never forgotten."""

import asyncio

import pytest
from sqlalchemy import text

from app.core.orders import OrderStatus
from app.core.transitions import OrderEvent
from app.repositories.commands import Claim
from app.repositories.order_rows import NewOrder
from tests.harness.records import World
from tests.integration.persistence.test_recording import FINDINGS


async def bury(world: World, *, batch: int = 100, margin_s: float = 2.0) -> tuple[int, int]:
    async with world.uow.statement() as tx:
        return await tx.commands.bury_dead(margin_s=margin_s, batch=batch, actor="keeper")


async def test_a_claim_lives_until_its_send_by_and_the_margin_are_over(world: World) -> None:
    new = await world.save(world.new_order())
    await world.claim(new)
    assert await bury(world) == (0, 0)
    await world.execute("UPDATE order_commands SET send_by = clock_timestamp() - interval '1 second'")
    assert await bury(world) == (0, 0)
    assert (await world.order(new)).status is OrderStatus.SUBMITTING
    await world.execute("UPDATE order_commands SET send_by = clock_timestamp() - interval '2.1 seconds'")
    assert await bury(world) == (1, 1)
    order = await world.order(new)
    assert order.status is OrderStatus.UNKNOWN
    assert order.status_reason is not None
    assert order.stages.done is None
    assert await world.command_state(new) == "UNKNOWN"
    assert await world.events(new) == ["CREATED", "CLAIMED", "CLAIM_DIED"]
    assert await bury(world) == (0, 0)


@pytest.mark.parametrize("status", ["PLACED", "PARTIALLY_FILLED", "COMPLETE", "CANCELLED", "REJECTED"])
async def test_what_the_order_socket_has_settled_stays_settled_and_only_the_command_ends(
    world: World, status: str
) -> None:
    new = await world.save(world.new_order())
    await world.claim(new)
    await world.execute("UPDATE orders SET status = :status", {"status": status})
    await world.let_claims_die()
    assert await bury(world) == (0, 1)
    assert (await world.order(new)).status == status
    assert await world.command_state(new) == "DONE"
    assert "CLAIM_DIED" not in await world.events(new)


async def test_waiting_and_ended_commands_are_not_buried(world: World) -> None:
    await world.save(world.new_order("waiting"))
    done = await world.save(world.new_order("done"))
    claim = await world.claim(done)
    async with world.uow.statement() as tx:
        await tx.commands.record(claim, FINDINGS[OrderEvent.ACCEPTED], worker="w1")
    await world.let_claims_die()
    assert await bury(world) == (0, 0)


async def test_a_batch_takes_the_longest_dead_first(world: World) -> None:
    orders = [await world.save(world.new_order(f"o{n}")) for n in range(3)]
    for new in orders:
        await world.claim(new)
    await world.let_claims_die()
    await world.execute(
        "UPDATE order_commands SET send_by = send_by - interval '1 hour' WHERE id = :id",
        {"id": orders[1].command_id},
    )
    assert await bury(world, batch=1) == (1, 1)
    assert (await world.order(orders[1])).status is OrderStatus.UNKNOWN
    assert await bury(world) == (2, 2)


@pytest.mark.parametrize("table", ["orders", "order_commands"])
async def test_a_claim_whose_end_is_being_recorded_is_left_alone(world: World, table: str) -> None:
    new = await world.save(world.new_order())
    await world.claim(new)
    await world.let_claims_die()
    async with world.engine.begin() as recording:
        await recording.execute(text(f"SELECT 1 FROM {table} FOR UPDATE"))
        assert await asyncio.wait_for(bury(world), timeout=2.0) == (0, 0)
    assert (await world.order(new)).status is OrderStatus.SUBMITTING
    assert await world.command_state(new) == "SUBMITTING"


async def test_late_first_hand_evidence_settles_what_was_given_up(world: World) -> None:
    new = await world.save(world.new_order())
    claim = await world.claim(new)
    await world.let_claims_die()
    await bury(world)
    async with world.uow.statement() as tx:
        recorded = await tx.commands.record(claim, FINDINGS[OrderEvent.ACCEPTED], worker="w1")
    assert recorded is not None
    assert recorded.status is OrderStatus.PLACED
    assert (await world.order(new)).broker_order_id == "B1"
    assert await world.command_state(new) == "DONE"


PAIRS_THAT_FIT = {
    ("PENDING", "PENDING"),
    ("UNKNOWN", "UNKNOWN"),
    ("PLACED", "DONE"),
    ("REJECTED", "DONE"),
}


async def test_workers_that_answer_while_the_keeper_gives_up_leave_order_and_command_in_step(world: World) -> None:
    orders = [await world.save(world.new_order(f"o{n}")) for n in range(60)]
    claims = [await world.claim(new) for new in orders]
    await world.let_claims_die()
    findings = list(FINDINGS.values())

    async def record(claim: Claim, turn: int) -> None:
        async with world.uow.statement() as tx:
            await tx.commands.record(claim, findings[turn % len(findings)], worker="w1")

    # A broker order id is unique, so each acceptance needs one of its own: refusals stand in for it.
    findings.remove(FINDINGS[OrderEvent.ACCEPTED])
    await asyncio.gather(
        *(record(claim, turn) for turn, claim in enumerate(claims)), *(bury(world, batch=7) for _ in range(12))
    )
    while (await bury(world))[1]:
        pass
    assert await states(world, orders) <= PAIRS_THAT_FIT


async def states(world: World, orders: list[NewOrder]) -> set[tuple[str, str]]:
    return {((await world.order(new)).status.value, await world.command_state(new)) for new in orders}
