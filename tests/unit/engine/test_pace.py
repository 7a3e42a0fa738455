"""A replay's pace, by a clock that moves only when something waits on it."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from app.engine import pace
from app.engine.pace import Pace


class StandingClock:
    """Implements `core.ports.Clock`; time passes only by waiting."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.waits: list[float] = []

    def now(self) -> datetime:
        return datetime(2019, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep_or_stop(self, stop: asyncio.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        self.seconds += seconds
        return stop.is_set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StandingClock:
    standing = StandingClock()
    monkeypatch.setattr(pace, "sleep_or_stop", standing.sleep_or_stop)
    return standing


async def test_the_fastest_replay_waits_for_nothing(clock: StandingClock) -> None:
    fast, over = Pace(Decimal(0), clock=clock), asyncio.Event()
    assert [await fast.wait(over) for _ in range(100)] == [True] * 100
    assert clock.waits == []


@pytest.mark.parametrize(("speed", "interval"), [("1", 15.0), ("60", 0.25), ("0.5", 30.0)])
async def test_the_four_steps_of_a_minute_are_spread_over_it(clock: StandingClock, speed: str, interval: float) -> None:
    steady, over = Pace(Decimal(speed), clock=clock), asyncio.Event()
    for _ in range(5):
        assert await steady.wait(over)
    assert clock.waits == [interval] * 4


async def test_work_between_the_steps_is_part_of_the_interval(clock: StandingClock) -> None:
    steady, over = Pace(Decimal(1), clock=clock), asyncio.Event()
    await steady.wait(over)
    clock.seconds += 6
    await steady.wait(over)
    assert clock.waits == [9.0]
    assert clock.seconds == 1015.0


async def test_a_replay_that_was_held_up_goes_on_at_its_pace_and_does_not_rush(clock: StandingClock) -> None:
    steady, over = Pace(Decimal(1), clock=clock), asyncio.Event()
    await steady.wait(over)
    clock.seconds += 600
    await steady.wait(over)
    assert clock.waits == []
    await steady.wait(over)
    assert clock.waits == [15.0]


async def test_a_stop_ends_the_wait(clock: StandingClock) -> None:
    steady, over = Pace(Decimal(1), clock=clock), asyncio.Event()
    assert await steady.wait(over)
    over.set()
    assert not await steady.wait(over)


async def test_a_stop_that_is_set_already_ends_a_real_wait_at_once() -> None:
    clock, over = StandingClock(), asyncio.Event()
    steady = Pace(Decimal(1), clock=clock)
    await steady.wait(over)
    over.set()
    async with asyncio.timeout(5):
        assert not await steady.wait(over)
