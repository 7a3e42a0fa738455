"""The sweep rings for what waits: the most urgent first, and not again within its pause."""

import asyncio

from app.core.orders import Lane, Urgency
from app.core.ports import Ring
from app.repositories.order_rows import NewOrder
from tests.harness.records import World

DUE = "UPDATE order_commands SET ring_after = clock_timestamp() - interval '1 second'"


async def take(world: World, batch: int = 100) -> list[Ring]:
    async with world.uow.statement() as tx:
        return await tx.commands.take_unrung(batch=batch)


async def save_mixed(world: World) -> dict[str, NewOrder]:
    urgencies = [Urgency.NORMAL, Urgency.STOP_LOSS, Urgency.HIGH, Urgency.NORMAL, Urgency.CRITICAL, Urgency.STOP_LOSS]
    return {
        f"{n}-{urgency}": await world.save(world.new_order(f"o{n}", urgency=urgency))
        for n, urgency in enumerate(urgencies)
    }


def names(rings: list[Ring], orders: dict[str, NewOrder]) -> list[str]:
    by_command = {new.command_id: name for name, new in orders.items()}
    return [by_command[ring.command_id] for ring in rings]


BEST_FIRST = ["1-STOP_LOSS", "5-STOP_LOSS", "4-CRITICAL", "2-HIGH", "0-NORMAL", "3-NORMAL"]


async def test_the_most_urgent_is_rung_first_then_the_oldest(world: World) -> None:
    orders = await save_mixed(world)
    await world.execute(DUE)
    rings = await take(world)
    assert names(rings, orders) == BEST_FIRST
    assert {ring.account_id for ring in rings} == {world.account.id}
    assert [ring.lane for ring in rings] == [Lane.PRIORITY] * 4 + [Lane.STANDARD] * 2


async def test_small_batches_keep_that_order(world: World) -> None:
    orders = await save_mixed(world)
    await world.execute(DUE)
    assert names(await take(world, 2) + await take(world, 2) + await take(world, 2), orders) == BEST_FIRST


async def test_a_fresh_order_is_left_to_its_own_doorbell_for_a_while(world: World) -> None:
    await world.save(world.new_order())
    assert await take(world) == []


async def test_what_was_rung_is_not_rung_again_within_its_pause(world: World) -> None:
    await world.save(world.new_order())
    await world.execute(DUE)
    assert len(await take(world)) == 1
    assert await take(world) == []
    await world.execute(DUE)
    assert len(await take(world)) == 1


async def test_two_sweeps_at_once_share_the_work(world: World) -> None:
    for n in range(20):
        await world.save(world.new_order(f"o{n}"))
    await world.execute(DUE)
    halves = await asyncio.gather(take(world, 20), take(world, 20))
    assert len(halves[0]) + len(halves[1]) == 20
    assert {ring.command_id for ring in halves[0]}.isdisjoint(ring.command_id for ring in halves[1])


async def test_claimed_commands_are_not_rung(world: World) -> None:
    new = await world.save(world.new_order())
    await world.claim(new)
    await world.execute(DUE)
    assert await take(world) == []


async def test_after_a_wipe_everything_that_waits_is_due_at_once(world: World) -> None:
    orders = await save_mixed(world)
    await world.claim(orders["0-NORMAL"])
    async with world.uow.statement() as tx:
        await tx.commands.mark_all_unrung()
    assert names(await take(world), orders) == [name for name in BEST_FIRST if name != "0-NORMAL"]
