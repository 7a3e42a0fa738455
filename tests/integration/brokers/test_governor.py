"""However many workers take permits at once, no rolling second sees more than the budget, and urgent ones go first."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.brokers.base import EndpointGroup, RateLimit
from app.brokers.governor import (
    EPOCH_KEY,
    WINDOW_S,
    Budget,
    Governor,
    Granted,
    NotNowReason,
    RedisGovernor,
    Spend,
    Wait,
)
from app.brokers.limits import WriteLimits
from app.core.instruments import Exchange
from app.infra.ids import new_id
from app.infra.redis import build_redis
from tests.harness.redis import RedisProcess

LIMITS = WriteLimits(per_second=9, per_minute=None, per_hour=None, segment_per_second=10)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = build_redis(redis_url)
    await client.set(EPOCH_KEY, 1)
    yield client
    await client.aclose()


async def nothing_sent(_account_id: UUID, _within_s: float) -> Sequence[tuple[str, float]]:
    return []


def a_governor(redis: Redis) -> RedisGovernor:
    return RedisGovernor(redis, sent_writes=nothing_sent)


def a_budget(limits: WriteLimits = LIMITS) -> Budget:
    return Budget(account_id=uuid4(), name=f"angelone:paper:{uuid4().hex}", limits=limits)


def ordinary(command_id: UUID | None = None, exchange: Exchange = Exchange.NSE) -> Spend:
    return Spend(exchange, urgent=False, command_id=command_id)


def urgent(command_id: UUID | None = None, band: int = 1) -> Spend:
    return Spend(Exchange.NSE, urgent=True, command_id=command_id, band=band)


async def take_all(governor: Governor, budget: Budget, spend: Spend) -> int:
    """Take permits until one is refused; returns how many there were."""
    taken = 0
    while isinstance(await governor.take(budget, spend), Granted):
        taken += 1
    return taken


async def age(redis: Redis, budget: Budget, seconds: float, part: str = "log") -> None:
    """Make all permits of a log so much older."""
    key = budget.key(part)
    for permit, _ in await redis.zrange(key, 0, -1, withscores=True):
        await redis.zincrby(key, -seconds * 1000, permit)


async def test_four_workers_together_never_get_more_than_the_budget_in_any_rolling_second(redis_url: str) -> None:
    budget, times = a_budget(), dict[str, float]()
    clients = [build_redis(redis_url) for _ in range(4)]
    await clients[0].set(EPOCH_KEY, 1)

    async def worker(client: Redis) -> None:
        governor = a_governor(client)
        end = asyncio.get_running_loop().time() + 3.5
        while asyncio.get_running_loop().time() < end:
            answer = await governor.take(budget, urgent())
            if isinstance(answer, Granted):
                times[answer.permit] = float(await client.zscore(budget.key("log"), answer.permit) or 0)
            else:
                assert 0 < answer.seconds <= WINDOW_S + 0.01
                await asyncio.sleep(min(answer.seconds, 0.01))

    try:
        await asyncio.gather(*(worker(client) for client in clients))
    finally:
        for client in clients:
            await client.aclose()
    ordered = sorted(times.values())
    assert len(ordered) >= 2 * 9
    assert min(late - early for early, late in zip(ordered, ordered[9:], strict=False)) >= WINDOW_S * 1000


async def test_ordinary_writes_leave_a_third_of_the_second_to_urgent_ones(redis: Redis) -> None:
    governor, budget = a_governor(redis), a_budget()
    assert await take_all(governor, budget, ordinary()) == 6
    assert await take_all(governor, budget, urgent()) == 3
    assert await take_all(governor, budget, ordinary()) == 0


async def test_the_smallest_budget_still_lets_ordinary_writes_through(redis: Redis) -> None:
    budget = a_budget(replace(LIMITS, per_second=1))
    assert await take_all(a_governor(redis), budget, ordinary()) == 1


async def test_a_segment_has_a_ceiling_of_its_own(redis: Redis) -> None:
    governor, budget = a_governor(redis), a_budget(replace(LIMITS, per_second=60))
    assert await take_all(governor, budget, ordinary(exchange=Exchange.NSE)) == 6
    assert await take_all(governor, budget, urgent()) == 4
    assert await take_all(governor, budget, ordinary(exchange=Exchange.BSE)) == 6


async def test_each_client_code_has_a_budget_of_its_own(redis: Redis) -> None:
    governor = a_governor(redis)
    assert [await take_all(governor, a_budget(), urgent()) for _ in range(3)] == [9, 9, 9]


async def test_those_who_wait_come_back_one_after_the_other_and_not_all_at_once(redis: Redis) -> None:
    governor, budget = a_governor(redis), a_budget()
    await take_all(governor, budget, ordinary())
    answers = [await governor.take(budget, ordinary(new_id())) for _ in range(500)]
    waits = [answer.seconds for answer in answers if isinstance(answer, Wait)]
    assert len(waits) == 500
    # Six a window, so five hundred need 83 windows; no hundred of them come back within the same ten seconds.
    assert waits[-1] == pytest.approx(500 / 6 * WINDOW_S, rel=0.05)
    assert max(sum(start <= wait < start + 10 for wait in waits) for start in range(100)) <= 60


async def test_who_waited_first_is_served_first_and_urgent_ones_before_all(redis: Redis) -> None:
    governor, budget = a_governor(redis), a_budget(replace(LIMITS, per_second=2))
    first, second, stop_loss, exit_order = new_id(), new_id(), new_id(), new_id()
    assert await take_all(governor, budget, urgent()) == 2
    for spend in (ordinary(first), ordinary(second), urgent(exit_order), urgent(stop_loss, band=3)):
        assert isinstance(await governor.take(budget, spend), Wait)
    await age(redis, budget, 2)
    # Two permits are free again, and both belong to the urgent ones, whoever knocks first.
    assert isinstance(await governor.take(budget, ordinary(first)), Wait)
    assert isinstance(await governor.take(budget, ordinary(uuid4())), Wait)
    assert isinstance(await governor.take(budget, urgent(stop_loss, band=3)), Granted)
    assert isinstance(await governor.take(budget, urgent(exit_order)), Granted)
    await age(redis, budget, 2)
    assert isinstance(await governor.take(budget, ordinary(second)), Wait)
    assert isinstance(await governor.take(budget, ordinary(first)), Granted)
    await age(redis, budget, 2)
    assert isinstance(await governor.take(budget, ordinary(second)), Granted)


async def test_a_place_whose_owner_does_not_come_back_is_given_away(redis: Redis) -> None:
    governor, budget = a_governor(redis), a_budget(replace(LIMITS, per_second=1))
    gone, waiting = new_id(), new_id()
    assert await take_all(governor, budget, urgent()) == 1
    assert isinstance(await governor.take(budget, ordinary(gone)), Wait)
    assert isinstance(await governor.take(budget, ordinary(waiting)), Wait)
    await age(redis, budget, 2)
    assert isinstance(await governor.take(budget, ordinary(waiting)), Wait)
    await redis.zadd(budget.key("back"), {str(gone): 1})
    assert isinstance(await governor.take(budget, ordinary(waiting)), Granted)


async def test_the_minute_and_the_hour_have_ceilings_with_headroom(redis: Redis) -> None:
    limits = WriteLimits(per_second=100, per_minute=20, per_hour=30, segment_per_second=100)
    governor, budget = a_governor(redis), a_budget(limits)
    assert await take_all(governor, budget, ordinary()) == 18
    assert await take_all(governor, budget, urgent()) == 2
    answer = await governor.take(budget, urgent())
    assert isinstance(answer, Wait)
    assert 50 < answer.seconds <= 61.1
    await age(redis, budget, 62)
    assert await take_all(governor, budget, urgent()) == 10
    answer = await governor.take(budget, urgent())
    assert isinstance(answer, Wait)
    assert 3400 < answer.seconds <= 3601
    await age(redis, budget, 3600)
    assert await take_all(governor, budget, urgent()) == 20


async def test_a_permit_that_was_not_used_is_renewed_in_its_place_or_given_back(redis: Redis) -> None:
    governor, budget = a_governor(redis), a_budget(replace(LIMITS, per_second=2))
    permit = await governor.take(budget, urgent())
    other = await governor.take(budget, urgent())
    assert isinstance(permit, Granted)
    assert isinstance(other, Granted)
    renewed = await governor.take(budget, urgent(), renewing=permit.permit)
    assert isinstance(renewed, Granted)
    assert renewed.permit == permit.permit
    assert isinstance(await governor.take(budget, urgent()), Wait)
    await governor.give_back(budget, urgent(), other)
    assert isinstance(await governor.take(budget, urgent()), Granted)


async def test_a_permit_counts_for_as_long_as_its_write_is_unanswered(redis: Redis) -> None:
    governor, budget = a_governor(redis), a_budget(replace(LIMITS, per_second=20))
    spend = urgent()
    permits = [await governor.take(budget, spend) for _ in range(10)]
    await age(redis, budget, 1.2)
    await age(redis, budget, 1.2, part=f"segment:{Exchange.NSE}")
    assert isinstance(permits[0], Granted)
    await governor.keep(budget, spend, permits[0])
    await age(redis, budget, 0.1)
    await age(redis, budget, 0.1, part=f"segment:{Exchange.NSE}")
    assert await take_all(governor, budget, spend) == 9


async def test_what_nobody_uses_goes_away_by_itself(redis: Redis) -> None:
    governor, budget = a_governor(redis), a_budget(replace(LIMITS, per_second=20))
    await take_all(governor, budget, ordinary())
    await governor.take(budget, ordinary(uuid4()))
    for key in await redis.keys(f"rate:{budget.name}:*"):
        assert await redis.pttl(key) > 0, key


async def test_after_a_wipe_nothing_is_sent_for_a_whole_window(redis: Redis) -> None:
    governor, budget = a_governor(redis), a_budget()
    await redis.flushall()
    answers = [await governor.take(budget, urgent(uuid4())) for _ in range(3)]
    assert all(isinstance(answer, Wait) and WINDOW_S - 0.2 < answer.seconds <= WINDOW_S for answer in answers)
    await redis.incrby(EPOCH_KEY, -int(WINDOW_S * 1000))
    assert await take_all(governor, budget, urgent()) == 6  # three others wait


async def test_a_renewal_after_a_wipe_waits_too(redis: Redis) -> None:
    governor, budget = a_governor(redis), a_budget()
    permit = await governor.take(budget, urgent())
    assert isinstance(permit, Granted)
    await redis.flushall()
    assert isinstance(await governor.take(budget, urgent(), renewing=permit.permit), Wait)


async def test_an_epoch_of_the_future_is_begun_anew(redis: Redis) -> None:
    governor, budget = a_governor(redis), a_budget()
    await redis.set(EPOCH_KEY, 10**15)
    answer = await governor.take(budget, urgent())
    assert isinstance(answer, Wait)
    assert answer.seconds <= WINDOW_S


async def test_a_worker_that_starts_begins_the_epoch_and_leaves_an_older_one_alone(redis: Redis) -> None:
    governor = a_governor(redis)
    await governor.begin()
    assert await redis.get(EPOCH_KEY) == b"1"
    await redis.flushall()
    await governor.begin()
    assert int(await redis.get(EPOCH_KEY) or 0) > 10**12


async def test_the_hour_is_counted_again_from_the_database_before_anything_is_sent(redis: Redis) -> None:
    sent: list[tuple[str, float]] | Exception = OSError("the database is away")

    async def sent_writes(_account_id: UUID, within_s: float) -> Sequence[tuple[str, float]]:
        assert within_s >= 3600
        if isinstance(sent, Exception):
            raise sent
        return sent

    budget = a_budget(replace(LIMITS, per_hour=10))
    governor = RedisGovernor(redis, sent_writes=sent_writes)
    answer = await governor.take(budget, urgent())
    assert answer == Wait(reason=NotNowReason.OVER_BUDGET, seconds=0.2)
    sent = [(f"command-{number}:1", 100.0 * number) for number in range(1, 8)]
    assert await take_all(governor, budget, urgent()) == 3
    answer = await governor.take(budget, urgent())
    assert isinstance(answer, Wait)
    assert 2890 < answer.seconds <= 2901


async def test_the_count_is_asked_for_once_however_many_want_a_permit(redis: Redis) -> None:
    asked = 0
    is_asked, go_on = asyncio.Event(), asyncio.Event()

    async def sent_writes(_account_id: UUID, _within_s: float) -> Sequence[tuple[str, float]]:
        nonlocal asked
        asked += 1
        is_asked.set()
        await go_on.wait()
        return []

    budget = a_budget(replace(LIMITS, per_minute=500))
    governor = RedisGovernor(redis, sent_writes=sent_writes)
    first = asyncio.create_task(governor.take(budget, urgent()))
    await is_asked.wait()
    for _ in range(5):
        assert isinstance(await governor.take(budget, urgent()), Wait)
    go_on.set()
    assert isinstance(await first, Granted)
    assert asked == 1


async def test_reads_have_a_budget_of_their_own(redis: Redis) -> None:
    governor, budget = a_governor(redis), a_budget()
    limit = RateLimit(per_second=2, per_minute=3)
    waits = [await governor.take_read(budget, EndpointGroup.BOOKS, limit) for _ in range(3)]
    assert waits[:2] == [0.0, 0.0]
    assert 0 < waits[2] <= WINDOW_S + 0.001
    assert await governor.take_read(budget, EndpointGroup.QUOTES, limit) == 0.0
    assert await take_all(governor, budget, urgent()) == 9
    await age(redis, budget, 2, part="reads:books")
    assert await governor.take_read(budget, EndpointGroup.BOOKS, limit) == 0.0
    assert 50 < await governor.take_read(budget, EndpointGroup.BOOKS, limit) <= 61


async def test_without_redis_there_is_no_permit() -> None:
    server = RedisProcess()
    client = build_redis(server.url)
    try:
        server.kill()
        with pytest.raises((RedisError, OSError)):
            await a_governor(client).take(a_budget(), urgent())
        await a_governor(client).begin()
    finally:
        await client.aclose()
        server.stop()
