"""One active process a role: a standby takes over when the leader dies or freezes, and the old one writes nothing."""

import asyncio
from pathlib import Path

import pytest

from app.bootstrap import worker
from app.infra.migrations import migrate
from app.keeper.dead_claims import DeadClaims
from app.repositories.leases import Lease, LeaseLost
from app.services.leadership import Leadership
from tests.harness.desk import Desk, desk, environment, running, until_done
from tests.harness.postgres import PostgresProcess
from tests.harness.queue import eventually
from tests.harness.roles import RoleProcess

TTL_S = 1.0


def candidate(desk: Desk, holder: str, *, ttl_s: float = TTL_S) -> Leadership:
    return Leadership(uow=desk.uow, clock=desk.base.clock, role="keeper", holder=holder, ttl_s=ttl_s)


class Work:
    """What a leader does in these tests: notes its lease and waits for the end."""

    def __init__(self) -> None:
        self.leases: list[Lease] = []
        self.leads = asyncio.Event()
        self.ended = asyncio.Event()

    async def __call__(self, lease: Lease, over: asyncio.Event) -> None:
        self.leases.append(lease)
        self.leads.set()
        await over.wait()
        self.ended.set()


async def holder(desk: Desk) -> tuple[str, int]:
    (row,) = await desk.rows("SELECT holder, epoch FROM leases WHERE role = 'keeper'")
    return row["holder"], row["epoch"]


async def test_a_leader_that_stops_in_order_hands_over_at_once(trading: Desk) -> None:
    first, second, stop_first, stop_second = Work(), Work(), asyncio.Event(), asyncio.Event()
    leading = asyncio.create_task(candidate(trading, "a", ttl_s=30).run(stop_first, first))
    await until_done(first.leads)
    standing_by = asyncio.create_task(candidate(trading, "b").run(stop_second, second))
    stop_first.set()
    await until_done(second.leads)
    stop_second.set()
    await asyncio.gather(leading, standing_by)
    assert (first.leases[0].epoch, second.leases[0].epoch) == (1, 2)


async def test_a_leader_that_dies_is_replaced_within_the_lease(trading: Desk) -> None:
    first, second, stop = Work(), Work(), asyncio.Event()
    leading = asyncio.create_task(candidate(trading, "a").run(stop, first))
    await until_done(first.leads)
    standing_by = asyncio.create_task(candidate(trading, "b").run(stop, second))
    leading.cancel()  # neither ends its work nor gives the lease back
    with pytest.raises(asyncio.CancelledError):
        await leading
    await until_done(second.leads, timeout_s=TTL_S * 3)
    stop.set()
    await standing_by


async def test_a_leader_whose_lease_was_taken_ends_and_stands_by(trading: Desk) -> None:
    work, stop = Work(), asyncio.Event()
    leading = asyncio.create_task(candidate(trading, "a").run(stop, work))
    await until_done(work.leads)
    await trading.execute("UPDATE leases SET holder = 'b', epoch = epoch + 1")
    await until_done(work.ended)
    with pytest.raises(LeaseLost):
        async with trading.uow.fenced(work.leases[0]):
            pass
    work.leads.clear()
    await trading.execute("UPDATE leases SET expires_at = now()")
    await until_done(work.leads)
    stop.set()
    await leading
    assert [lease.epoch for lease in work.leases] == [1, 3]


async def test_losing_the_lease_in_the_middle_of_a_write_ends_the_work_not_the_process(trading: Desk) -> None:
    attempts, stop = 0, asyncio.Event()

    async def loses(lease: Lease, over: asyncio.Event) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 2:
            stop.set()
            return
        await trading.execute("UPDATE leases SET expires_at = now()")
        await DeadClaims(uow=trading.uow, lease=lease, margin_s=0.0, bell=trading.base.bell).turn()

    async with asyncio.timeout(20):
        await candidate(trading, "a").run(stop, loses)
    assert attempts == 2


async def test_an_error_of_the_work_is_not_swallowed(trading: Desk) -> None:
    async def fails(lease: Lease, over: asyncio.Event) -> None:
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        await candidate(trading, "a").run(asyncio.Event(), fails)


async def test_a_leader_without_a_database_ends_its_work_and_leads_again_when_it_is_back(redis_url: str) -> None:
    server = PostgresProcess(durable=True)
    try:
        await asyncio.to_thread(migrate, server.url)
        async with desk(server.url, redis_url) as made:
            work, stop = Work(), asyncio.Event()
            leading = asyncio.create_task(candidate(made, "a").run(stop, work))
            await until_done(work.leads)
            await asyncio.to_thread(server.kill)
            await until_done(work.ended)
            work.leads.clear()
            await asyncio.to_thread(server.restart)
            await until_done(work.leads, timeout_s=30)
            stop.set()
            await leading
            assert len(work.leases) == 2
    finally:
        server.stop()


async def test_real_keepers_take_over_from_one_another_after_a_kill_and_after_a_freeze(
    trading: Desk, tmp_path: Path
) -> None:
    config = trading.base.config
    keepers = [RoleProcess("keeper", environment(config), tmp_path / f"keeper{n}.log") for n in range(2)]
    try:
        async with running(worker.run, config):

            async def one_leads() -> bool:
                return bool(await trading.rows("SELECT 1 FROM leases WHERE role = 'keeper' AND expires_at > now()"))

            await eventually(one_leads, timeout_s=30)
            first = await holder(trading)
            active = next(one for one in keepers if f":{one.pid}:" in first[0])
            standby = next(one for one in keepers if one is not active)
            active.kill()

            async def changed() -> bool:
                return (await holder(trading))[1] == first[1] + 1

            await eventually(changed, timeout_s=20)
            assert f":{standby.pid}:" in (await holder(trading))[0]
            order = await trading.place()

            async def complete() -> bool:
                return await trading.status(order.order_id) == "COMPLETE"

            await eventually(complete, timeout_s=30)

            active.start()
            standby.pause()  # longer than its lease

            async def moved_on() -> bool:
                return (await holder(trading))[1] == first[1] + 2

            await eventually(moved_on, timeout_s=30)
            standby.resume()
            order = await trading.place()
            await eventually(complete, timeout_s=30)
            assert (await holder(trading))[1] == first[1] + 2
            assert await trading.count("fills") == 2
    finally:
        for one in keepers:
            one.stop()
