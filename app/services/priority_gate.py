"""Ordinary orders give way to urgent ones in the same process: a stop-loss does not wait for their processor time."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

GIVE_WAY_S_MAX = 0.5
"""However many urgent orders there are, ordinary ones go on after this: giving way must not become standing still."""


class PriorityGate:
    """Knows whether urgent orders are on their way."""

    def __init__(self) -> None:
        self._urgent = 0
        self._clear = asyncio.Event()
        self._clear.set()

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """Mark an urgent order as on its way, until the block ends."""
        self._urgent += 1
        self._clear.clear()
        try:
            yield
        finally:
            self._urgent -= 1
            if self._urgent == 0:
                self._clear.set()

    async def give_way(self) -> None:
        """Wait until no urgent order is on its way, `GIVE_WAY_S_MAX` at most."""
        if self._clear.is_set():
            return
        try:
            async with asyncio.timeout(GIVE_WAY_S_MAX):
                await self._clear.wait()
        except TimeoutError:
            return
