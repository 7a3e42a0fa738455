"""Rolling back is the default, and only a block that ends well commits."""

import asyncio

import pytest
from sqlalchemy.exc import IntegrityError

from app.infra.transactions import in_transaction
from app.repositories.accounts import StoredAccount
from tests.harness.records import World


async def saved(world: World) -> object:
    return (await world.row("SELECT count(*) FROM orders"))[0]


async def save_and_raise(world: World, error: BaseException) -> None:
    async with world.uow.transaction() as tx:
        await tx.orders.save(world.new_order())
        raise error


async def test_a_block_that_ends_well_is_committed_at_its_end_and_not_before(world: World) -> None:
    async with world.uow.transaction() as tx:
        await tx.orders.save(world.new_order())
        assert await saved(world) == 0
    assert await saved(world) == 1


@pytest.mark.parametrize("error", [RuntimeError("a bug"), asyncio.CancelledError(), KeyboardInterrupt()])
async def test_a_block_that_ends_in_any_other_way_leaves_nothing(world: World, error: BaseException) -> None:
    with pytest.raises(type(error)):
        await save_and_raise(world, error)
    assert await saved(world) == 0


async def test_a_statement_that_fails_takes_the_whole_transaction_with_it(world: World) -> None:
    async def save_two() -> None:
        async with world.uow.transaction() as tx:
            await tx.orders.save(world.new_order("one"))
            await tx.accounts.add(await duplicate(world))

    with pytest.raises(IntegrityError):
        await save_two()
    assert await saved(world) == 0


async def duplicate(world: World) -> StoredAccount:
    async with world.uow.statement() as tx:
        stored = await tx.accounts.stored(world.account.id)
    assert stored is not None
    return stored


async def test_a_single_statement_is_committed_by_itself(world: World) -> None:
    async with world.uow.statement() as tx:
        await tx.orders.save(world.new_order())
        assert await saved(world) == 1


async def test_a_task_knows_that_it_holds_a_transaction_open_and_others_do_not(world: World) -> None:
    assert not in_transaction()
    seen_elsewhere: list[bool] = []
    elsewhere, opened = asyncio.Event(), asyncio.Event()

    async def other() -> None:
        await opened.wait()
        seen_elsewhere.append(in_transaction())
        elsewhere.set()

    task = asyncio.create_task(other())
    async with world.uow.transaction():
        assert in_transaction()
        opened.set()
        await elsewhere.wait()
    await task
    assert not in_transaction()
    assert seen_elsewhere == [False]
    async with world.uow.statement():
        assert not in_transaction()
    with pytest.raises(RuntimeError):
        await save_and_raise(world, RuntimeError("a bug"))
    assert not in_transaction()


async def test_a_ping_answers_while_the_database_does(world: World) -> None:
    await world.uow.ping()
    await world.uow.close()
    await world.uow.ping()
