"""Thousands of commands of one account that must wait neither spin nor stand in the way of another account's."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import pytest
from arq.connections import ArqRedis
from redis.asyncio import Redis

from app.brokers.governor import EPOCH_KEY, Budget, Granted, RedisGovernor, Spend
from app.brokers.limits import WriteLimits
from app.brokers.pacing import Pacing
from app.core.instruments import Exchange
from app.core.orders import Lane
from app.infra.clock import SystemClock
from app.infra.ids import new_id
from app.queue.jobs import PutOff
from app.queue.lanes import lane_keys
from tests.harness.queue import a_doorbell, a_ring, eventually, running_worker

WAITING = 5_000
LIMITS = WriteLimits(per_second=9, per_minute=None, per_hour=None, segment_per_second=10)


async def nothing_sent(_account_id: UUID, _within_s: float) -> Sequence[tuple[str, float]]:
    return []


class TwoAccounts:
    """Jobs of one account wait for their budget or their login; those of the other are done at once."""

    def __init__(self, redis: Redis, *, logged_out: bool) -> None:
        self.quick: dict[str, float] = {}
        self.asked = 0
        self.done: set[str] = set()
        self._governor = RedisGovernor(redis, sent_writes=nothing_sent)
        self._budget = Budget(account_id=uuid4(), name=uuid4().hex, limits=LIMITS)
        self._pacing = Pacing(SystemClock().monotonic) if logged_out else None

    async def run(self, _ctx: dict[str, object], *, command_id: str, **_: object) -> PutOff | None:
        if command_id in self.quick:
            self.quick[command_id] = time.monotonic() - self.quick[command_id]
            return None
        self.asked += 1
        if self._pacing is not None:
            return PutOff(self._pacing.wait_s())
        answer = await self._governor.take(self._budget, Spend(Exchange.NSE, urgent=False, command_id=UUID(command_id)))
        if isinstance(answer, Granted):
            self.done.add(command_id)
            return None
        return PutOff(answer.seconds)


@pytest.mark.parametrize("logged_out", [False, True])
async def test_five_thousand_that_wait_do_not_delay_another_account(
    redis: ArqRedis, redis_url: str, *, logged_out: bool
) -> None:
    await redis.set(EPOCH_KEY, 1)
    jobs, doorbell = TwoAccounts(redis, logged_out=logged_out), a_doorbell(redis)
    standard = lane_keys(Lane.STANDARD)
    async with AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(running_worker(redis_url, jobs.run, slots=20, priority_slots=4))
        assert await doorbell.rering([a_ring(command_id=new_id()) for _ in range(WAITING)])
        await eventually(lambda: jobs.asked >= WAITING, timeout_s=30)

        async def all_are_put_off() -> bool:
            return bool(await redis.zcard(standard.delayed) > 0.95 * WAITING)

        await eventually(all_are_put_off)
        asked, started = jobs.asked, time.monotonic()
        for _ in range(100):
            ring = a_ring(command_id=new_id())
            jobs.quick[str(ring.command_id)] = time.monotonic()
            await doorbell.ring([ring])
            await asyncio.sleep(0.02)  # a pause between two measurements, not a wait for something
        await eventually(lambda: all(took < 10 for took in jobs.quick.values()))
        again = (jobs.asked - asked) / (time.monotonic() - started)
    took = sorted(jobs.quick.values())
    # On a quiet machine two and eight milliseconds; behind all that wait it would be seconds.
    assert took[50] < 0.1, took[50]
    assert took[95] < 1.0, took[95]
    assert again < 120, again
