"""Lost bells are rung again: most urgent first, all of them after a wipe, and only by the keeper that leads."""

from collections.abc import AsyncIterator

import pytest
from arq.connections import ArqRedis

from app.core.orders import Urgency
from app.keeper.sweep import Sweep
from app.queue.errors import QueueUnreachable
from app.queue.lanes import LANES, lane_keys
from app.queue.producer import RedisDoorbell
from app.repositories.leases import LeaseLost
from tests.harness.desk import Desk, desk
from tests.harness.queue import queue_client
from tests.harness.redis import RedisProcess


@pytest.fixture
async def quiet(database_url: str, redis_url: str) -> AsyncIterator[Desk]:
    async with desk(database_url, redis_url) as made:
        yield made


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[ArqRedis]:
    async with queue_client(redis_url) as client:
        yield client


async def a_sweep(made: Desk, queue: ArqRedis) -> Sweep:
    return Sweep(uow=made.uow, doorbell=RedisDoorbell(queue, clock=made.base.clock), lease=await made.lease())


async def rung(queue: ArqRedis) -> list[str]:
    """Return the command ids that hang in the lanes, in the order in which workers take them."""
    return [member.decode() for lane in LANES for member in await queue.zrange(lane_keys(lane).ready, 0, -1)]


async def test_a_bell_that_never_hung_is_rung_when_it_has_waited_long_enough(quiet: Desk, queue: ArqRedis) -> None:
    answer = await quiet.place()
    command = await quiet.command(answer.order_id)
    sweep = await a_sweep(quiet, queue)
    await RedisDoorbell(queue, clock=quiet.base.clock).set_epoch("known")
    await sweep.turn()
    assert await rung(queue) == []  # the doorbell's own two seconds are not over
    await quiet.execute("UPDATE order_commands SET ring_after = now() - interval '1 second'")
    await sweep.turn()
    assert await rung(queue) == [str(command["id"])]
    await sweep.turn()
    assert len(await rung(queue)) == 1


async def test_after_a_wipe_every_waiting_command_is_rung_at_once_the_most_urgent_first(
    quiet: Desk, queue: ArqRedis
) -> None:
    urgencies = [Urgency.NORMAL, Urgency.HIGH, Urgency.STOP_LOSS, Urgency.CRITICAL, Urgency.NORMAL, Urgency.STOP_LOSS]
    answers = [await quiet.place(urgency=urgency) for urgency in urgencies]
    commands = [str((await quiet.command(answer.order_id))["id"]) for answer in answers]
    done = await quiet.placed("B1")
    sweep = await a_sweep(quiet, queue)
    await sweep.turn()
    wanted = [commands[n] for n in (2, 5, 3, 1, 0, 4)]
    assert await rung(queue) == wanted
    epoch = await RedisDoorbell(queue, clock=quiet.base.clock).epoch()
    assert epoch is not None

    await queue.flushall()
    await sweep.turn()
    assert await rung(queue) == wanted
    assert await RedisDoorbell(queue, clock=quiet.base.clock).epoch() not in (None, epoch)
    assert str((await quiet.command(done))["id"]) not in wanted


async def test_a_redis_that_is_away_is_not_taken_for_a_wiped_one(database_url: str) -> None:
    redis = RedisProcess()
    try:
        async with desk(database_url, redis.url) as made, queue_client(redis.url) as queue:
            await made.place()
            sweep = await a_sweep(made, queue)
            redis.kill()
            before = await made.rows("SELECT ring_after FROM order_commands")
            with pytest.raises(QueueUnreachable):
                await sweep.turn()
            assert await made.rows("SELECT ring_after FROM order_commands") == before
            redis.restart()
            await sweep.turn()
            assert len(await rung(queue)) == 1
    finally:
        redis.stop()


async def test_a_keeper_that_lost_its_lease_rings_nothing(quiet: Desk, queue: ArqRedis) -> None:
    await quiet.place()
    old = await quiet.lease(holder="old", ttl_s=0.0)
    await quiet.lease(holder="new")
    sweep = Sweep(uow=quiet.uow, doorbell=RedisDoorbell(queue, clock=quiet.base.clock), lease=old)
    with pytest.raises(LeaseLost):
        await sweep.turn()
    assert await rung(queue) == []
