"""The circuit breaker of an account, as all workers share it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from app.brokers.breaker import BAD_TO_OPEN, OPEN_S, OPEN_S_MAX, SLOW_S, BreakerChange, Health, health_of
from app.brokers.governor import EPOCH_KEY, Budget, Granted, NotNowReason, RedisGovernor, Spend, Wait
from app.brokers.limits import WriteLimits
from app.core.instruments import Exchange
from app.core.outcomes import Accepted, Ambiguous, NotSent, PlaceOutcome, Refused, Throttled
from app.infra.redis import build_redis

ORDINARY = Spend(Exchange.NSE, urgent=False)
URGENT = Spend(Exchange.NSE, urgent=True)
LIMITS = WriteLimits(per_second=1000, per_minute=None, per_hour=None, segment_per_second=1000)


class Account:
    """Two workers on one budget, and a hand on Redis' clock: what is stored is moved into the past."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.budget = Budget(account_id=uuid4(), name=uuid4().hex, limits=LIMITS)
        self.workers = [RedisGovernor(redis, sent_writes=nothing_sent) for _ in range(2)]

    async def take(self, spend: Spend = ORDINARY, worker: int = 0) -> Granted | Wait:
        return await self.workers[worker].take(self.budget, spend)

    async def granted(self, spend: Spend = ORDINARY, worker: int = 0) -> Granted:
        answer = await self.take(spend, worker)
        assert isinstance(answer, Granted), answer
        return answer

    async def end(self, health: Health, granted: Granted | None = None, worker: int = 0) -> BreakerChange | None:
        return await self.workers[worker].report(self.budget, granted or await self.granted(), health)

    async def open(self) -> None:
        for _ in range(BAD_TO_OPEN):
            await self.end(Health.BAD, Granted(permit="p"))

    async def wait(self, seconds: float) -> None:
        key = self.budget.key("state")
        for field in ("open_until", "probe_until", "shaky_until"):
            if await self.redis.hexists(key, field):
                await self.redis.hincrby(key, field, -int(seconds * 1000))


async def nothing_sent(_account_id: UUID, _within_s: float) -> Sequence[tuple[str, float]]:
    return []


@pytest.fixture
async def account(redis_url: str) -> AsyncIterator[Account]:
    client = build_redis(redis_url)
    await client.set(EPOCH_KEY, 1)
    yield Account(client)
    await client.aclose()


@pytest.mark.parametrize(
    ("outcome", "took_s", "health"),
    [
        (Accepted(broker_order_id="1"), 0.1, Health.GOOD),
        (Refused(code="AB1", message="no"), 0.1, Health.GOOD),
        (Accepted(broker_order_id="1"), SLOW_S + 0.1, Health.BAD),
        (Refused(code="AB1", message="no"), SLOW_S + 0.1, Health.BAD),
        (Ambiguous(reason="HTTP 502"), 0.1, Health.BAD),
        (NotSent(reason="ConnectError", unreachable=True), 0.1, Health.BAD),
        (NotSent(reason="deadline passed"), 5.0, Health.NEUTRAL),
        (NotSent(reason="AG8001", session_dead=True), 0.1, Health.NEUTRAL),
        (Throttled(reason="403"), 5.0, Health.NEUTRAL),
    ],
)
def test_what_an_end_says_about_the_broker(outcome: PlaceOutcome, took_s: float, health: Health) -> None:
    assert health_of(outcome, took_s=took_s) is health


async def test_five_bad_ends_of_ten_open_it_once_for_all_workers(account: Account) -> None:
    ends = [Health.BAD, Health.GOOD] * 4
    for number, health in enumerate(ends):
        assert await account.end(health, worker=number % 2) is None
    assert (await account.granted()).shaky
    assert await account.end(Health.BAD, worker=1) is BreakerChange.OPENED
    for worker in (0, 1):
        answer = await account.take(worker=worker)
        assert isinstance(answer, Wait)
        assert answer.reason is NotNowReason.BREAKER_OPEN
        assert OPEN_S - 0.5 < answer.seconds <= OPEN_S
    late = [account.end(Health.BAD, Granted(permit="late")) for _ in range(8)]
    assert await asyncio.gather(*late) == [None] * 8


async def test_many_bad_ends_at_once_open_it_exactly_once(account: Account) -> None:
    ends = await asyncio.gather(*(account.end(Health.BAD, Granted(permit=f"{n}"), n % 2) for n in range(40)))
    assert [end for end in ends if end is not None] == [BreakerChange.OPENED]


async def test_good_ends_in_between_and_old_bad_ones_keep_it_closed(account: Account) -> None:
    for _ in range(4):
        for health in (Health.BAD, Health.GOOD, Health.GOOD):
            assert await account.end(health) is None
    results = account.budget.key("results")
    rows = await account.redis.lrange(results, 0, -1)
    await account.redis.delete(results)
    await account.redis.rpush(results, *[f"{int(row.split(b':')[0]) - 31_000}:1" for row in rows])
    assert await account.end(Health.BAD) is None


async def test_a_well_broker_is_never_reported_and_leaves_nothing_in_redis(account: Account) -> None:
    granted = await account.granted()
    assert not granted.shaky
    assert not granted.probe
    assert await account.redis.exists(account.budget.key("state"), account.budget.key("results")) == 0


async def test_half_open_it_lets_exactly_one_probe_through(account: Account) -> None:
    await account.open()
    await account.wait(OPEN_S)
    answers = await asyncio.gather(*(account.take(spend, n % 2) for n in range(10) for spend in (ORDINARY, URGENT)))
    probes = [answer for answer in answers if isinstance(answer, Granted)]
    assert len(probes) == 1
    assert probes[0].probe
    assert await account.end(Health.GOOD, probes[0]) is BreakerChange.CLOSED
    assert not (await account.granted()).probe


async def test_each_failed_probe_doubles_the_pause_up_to_the_cap(account: Account) -> None:
    await account.open()
    pauses = []
    await account.wait(OPEN_S)
    for _ in range(6):
        assert await account.end(Health.BAD, await account.granted()) is None
        answer = await account.take()
        assert isinstance(answer, Wait)
        await account.wait(1)
        answer = await account.take()
        assert isinstance(answer, Wait)
        pauses.append(round(answer.seconds) + 1)
        await account.wait(answer.seconds)
    assert pauses == [10, 20, 40, OPEN_S_MAX, OPEN_S_MAX, OPEN_S_MAX]


async def test_an_urgent_write_may_probe_an_open_breaker_one_at_a_time(account: Account) -> None:
    await account.open()
    probe = await account.granted(URGENT)
    assert probe.probe
    assert isinstance(await account.take(URGENT, worker=1), Wait)
    assert isinstance(await account.take(ORDINARY), Wait)
    assert await account.end(Health.BAD, probe) is None
    assert isinstance(await account.take(URGENT), Wait)
    await account.wait(1)
    probe = await account.granted(URGENT)
    assert await account.end(Health.GOOD, probe, worker=1) is BreakerChange.CLOSED


async def test_a_probe_that_is_never_heard_of_again_makes_room_for_another(account: Account) -> None:
    await account.open()
    lost = await account.granted(URGENT)
    await account.wait(0.9)
    await account.workers[0].keep(account.budget, URGENT, lost)
    await account.wait(0.9)
    assert isinstance(await account.take(URGENT), Wait)
    await account.wait(0.2)
    assert (await account.granted(URGENT)).probe


async def test_a_probe_that_was_not_sent_leaves_its_place_to_the_next(account: Account) -> None:
    await account.open()
    probe = await account.granted(URGENT)
    renewed = await account.workers[0].take(account.budget, URGENT, renewing=probe.permit)
    assert isinstance(renewed, Granted)
    assert renewed.probe
    await account.workers[0].give_back(account.budget, URGENT, renewed)
    probe = await account.granted(URGENT, worker=1)
    assert await account.end(Health.NEUTRAL, probe) is None
    assert (await account.granted(URGENT)).probe


async def test_an_open_breaker_of_one_account_is_none_of_anothers_business(account: Account) -> None:
    await account.open()
    assert isinstance(await Account(account.redis).take(), Granted)


async def test_a_wiped_redis_has_closed_breakers(account: Account) -> None:
    await account.open()
    await account.redis.flushall()
    await account.redis.set(EPOCH_KEY, 1)
    assert isinstance(await account.take(), Granted)
