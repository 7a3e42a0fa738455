"""One leader a role, by database time; what a former leader still wants to write is refused."""

import asyncio

import pytest

from app.repositories.leases import Lease, LeaseLost
from app.repositories.unit_of_work import UnitOfWork
from tests.harness.records import World

ENDED = "UPDATE leases SET expires_at = clock_timestamp() - interval '1 second'"

WAITING_OR_VALID = """
SELECT (SELECT expires_at > clock_timestamp() FROM leases)
  OR NOT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())
"""
"""True until the lease has run out while somebody waits for it."""


async def acquire(uow: UnitOfWork, holder: str) -> Lease | None:
    async with uow.statement() as tx:
        return await tx.leases.acquire(role="keeper", holder=holder, ttl_s=30.0)


async def must_acquire(uow: UnitOfWork, holder: str) -> Lease:
    lease = await acquire(uow, holder)
    assert lease is not None
    return lease


async def write_as(uow: UnitOfWork, lease: Lease, account: World) -> None:
    async with uow.fenced(lease) as tx:
        await tx.accounts.pause(account.account.id)


async def test_of_ten_that_want_to_lead_one_does(uow: UnitOfWork) -> None:
    leases = await asyncio.gather(*(acquire(uow, f"h{n}") for n in range(10)))
    assert len([lease for lease in leases if lease]) == 1


async def test_the_epoch_grows_with_each_new_leader_and_not_with_its_renewals(world: World) -> None:
    first = await must_acquire(world.uow, "a")
    assert (await must_acquire(world.uow, "a")).epoch == first.epoch == 1
    assert await acquire(world.uow, "b") is None
    await world.execute(ENDED)
    second = await must_acquire(world.uow, "b")
    assert second.epoch == 2
    await world.execute(ENDED)
    assert (await must_acquire(world.uow, "a")).epoch == 3


async def test_each_role_has_a_leader_of_its_own(uow: UnitOfWork) -> None:
    await must_acquire(uow, "a")
    async with uow.statement() as tx:
        assert await tx.leases.acquire(role="feed", holder="b", ttl_s=30.0) is not None


async def test_a_lease_is_prolonged_only_while_it_holds(world: World) -> None:
    lease = await must_acquire(world.uow, "a")
    async with world.uow.statement() as tx:
        assert await tx.leases.renew(lease, ttl_s=30.0)
    await world.execute(ENDED)
    async with world.uow.statement() as tx:
        assert not await tx.leases.renew(lease, ttl_s=30.0)
    await must_acquire(world.uow, "b")
    async with world.uow.statement() as tx:
        assert not await tx.leases.renew(lease, ttl_s=30.0)


async def test_a_released_lease_is_free_at_once_and_only_its_holder_can_release_it(world: World) -> None:
    lease = await must_acquire(world.uow, "a")
    async with world.uow.statement() as tx:
        await tx.leases.release(Lease(role="keeper", holder="b", epoch=lease.epoch))
    assert await acquire(world.uow, "b") is None
    async with world.uow.statement() as tx:
        await tx.leases.release(lease)
    assert (await must_acquire(world.uow, "b")).epoch == 2


async def test_a_leader_whose_lease_ran_out_writes_nothing(world: World) -> None:
    lease = await must_acquire(world.uow, "a")
    await world.execute(ENDED)
    with pytest.raises(LeaseLost, match="epoch 1"):
        await write_as(world.uow, lease, world)
    assert (await world.row("SELECT status FROM broker_accounts"))[0] == "ACTIVE"


async def test_a_paused_leader_that_wakes_after_a_take_over_writes_nothing(world: World) -> None:
    paused = await must_acquire(world.uow, "a")
    await world.execute(ENDED)
    successor = await must_acquire(world.uow, "b")
    with pytest.raises(LeaseLost):
        await write_as(world.uow, paused, world)
    assert (await world.row("SELECT status FROM broker_accounts"))[0] == "ACTIVE"
    await write_as(world.uow, successor, world)
    assert (await world.row("SELECT status FROM broker_accounts"))[0] == "PAUSED"


async def test_a_take_over_waits_for_the_transaction_that_its_predecessor_has_open(world: World) -> None:
    async with world.uow.statement() as tx:
        lease = await tx.leases.acquire(role="keeper", holder="a", ttl_s=0.2)
    assert lease is not None
    async with world.uow.fenced(lease) as tx:
        successor = asyncio.create_task(must_acquire(world.uow, "b"))
        while (await world.row(WAITING_OR_VALID))[0]:
            assert not successor.done()
        await tx.accounts.pause(world.account.id)
        assert not successor.done()
    assert (await successor).epoch == 2
    assert (await world.row("SELECT status FROM broker_accounts"))[0] == "PAUSED"


async def test_a_busy_leaders_renewal_waits_for_none_of_its_transactions(world: World) -> None:
    lease = await must_acquire(world.uow, "a")
    async with world.uow.fenced(lease), world.uow.statement() as tx, asyncio.timeout(2.0):
        assert await tx.leases.renew(lease, ttl_s=30.0)
