"""Signals that end a start, and the short moments in which they have to wait."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def held() -> Iterator[None]:
    """Put ending signals off until the block is done; the first of them then takes effect.

    A process that is started but not yet known to us could not be stopped again.
    """
    arrived: list[int] = []
    before = {number: signal.signal(number, lambda got, _frame: arrived.append(got)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if arrived:
        signal.raise_signal(arrived[0])


def ignore() -> None:
    """Let nothing interrupt what follows."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
