"""Background duties outlive their failures, and stop when they are told to."""

import asyncio

import pytest

from app.infra.lifecycle import every, sleep_or_stop


class Duty:
    """Raises the given errors, one a turn, and stops the loop when they are used up."""

    def __init__(self, *errors: BaseException | None) -> None:
        self._errors = list(errors)
        self.turns = 0
        self.stop = asyncio.Event()

    async def __call__(self) -> None:
        self.turns += 1
        if not self._errors:
            self.stop.set()
            return
        error = self._errors.pop(0)
        if error is not None:
            raise error


async def run(duty: Duty, *, fatal: tuple[type[Exception], ...] = ()) -> None:
    async with asyncio.timeout(10):
        await every("a test", 0.0, duty.stop, duty, fatal=fatal)


async def test_a_duty_that_fails_is_tried_again_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    duty = Duty(RuntimeError("one"), ValueError("two"), None, OSError("three"))
    await run(duty)
    assert duty.turns == 5


async def test_what_is_fatal_ends_the_duty_and_passes_through() -> None:
    duty = Duty(RuntimeError("again"), KeyError("fatal"))
    with pytest.raises(KeyError, match="fatal"):
        await run(duty, fatal=(KeyError,))
    assert duty.turns == 2


async def test_a_cancelled_duty_is_not_tried_again() -> None:
    duty = Duty(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await run(duty)
    assert duty.turns == 1


async def test_a_duty_does_not_begin_once_the_stop_is_set() -> None:
    duty = Duty()
    duty.stop.set()
    await run(duty)
    assert duty.turns == 0


async def test_a_stop_ends_the_pause_between_two_turns() -> None:
    begun, stop = asyncio.Event(), asyncio.Event()

    async def duty() -> None:
        begun.set()

    task = asyncio.create_task(every("a test", 3600.0, stop, duty))
    await begun.wait()
    stop.set()
    async with asyncio.timeout(5):
        await task


async def test_a_wait_says_whether_the_stop_ended_it() -> None:
    stop = asyncio.Event()
    assert not await sleep_or_stop(stop, 0.001)
    stop.set()
    assert await sleep_or_stop(stop, 3600)
    assert await sleep_or_stop(stop, 0)
