"""How a process starts, waits and stops: one stop event for SIGINT and SIGTERM, and loops that end when it is set."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine

import uvloop

from app.infra.logging import get_logger
from app.infra.metrics import DUTY_FAILURES, DUTY_SECONDS

log = get_logger(__name__)


def run_until_stopped(main: Callable[[asyncio.Event], Coroutine[None, None, None]]) -> None:
    """Run a role to its end on uvloop; the first SIGINT or SIGTERM sets the event that it is given."""

    async def _run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, stop.set)
        await main(stop)

    uvloop.run(_run())


async def sleep_or_stop(stop: asyncio.Event, seconds: float) -> bool:
    """Wait, but no longer than until the stop; true when stopping."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return stop.is_set()
    return True


async def every(
    name: str,
    interval_s: float,
    stop: asyncio.Event,
    duty: Callable[[], Awaitable[None]],
    *,
    fatal: tuple[type[Exception], ...] = (),
) -> None:
    """Run a duty again and again until the stop, or until it raises something `fatal`.

    This is the isolation point of background duties: what fails is logged and tried again at the next turn,
    because a loop that dies silently loses more than a failed turn.
    """
    failing = False
    turns, failures = DUTY_SECONDS.labels(name), DUTY_FAILURES.labels(name)
    while not stop.is_set():
        try:
            with turns.time():
                await duty()
            if failing:
                log.info("duty.recovered", duty=name)
                failing = False
        except fatal:
            raise
        except Exception as error:  # noqa: BLE001  isolation point: logged once, tried again
            failures.inc()
            if not failing:
                log.warning("duty.failing", duty=name, error=repr(error))
            failing = True
        await sleep_or_stop(stop, interval_s)
