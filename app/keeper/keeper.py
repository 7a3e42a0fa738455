"""The keeper: while it holds the lease it runs its duties; when the lease is lost all of them end."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from app.infra.lifecycle import every
from app.repositories.leases import Lease, LeaseLost


class Turns(Protocol):
    """A duty that is done turn by turn."""

    async def turn(self) -> None:
        """Do what is due. Raises `LeaseLost` when another keeper leads."""


@runtime_checkable
class Closes(Protocol):
    """A duty that keeps tasks of its own between its turns."""

    async def close(self) -> None:
        """End them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """One duty: its name in logs and metrics, its interval in seconds, and how it is made for a lease."""

    name: str
    every_s: float
    made_for: Callable[[Lease], Turns]


class Keeper:
    """Runs the duties. Each gets the lease, so that every write of theirs is fenced by it."""

    def __init__(self, duties: Sequence[Duty]) -> None:
        self._duties = duties

    async def lead(self, lease: Lease, over: asyncio.Event) -> None:
        """Run all duties until `over`."""
        made = [(duty, duty.made_for(lease)) for duty in self._duties]
        try:
            async with asyncio.TaskGroup() as group:
                for duty, turns in made:
                    group.create_task(every(duty.name, duty.every_s, over, turns.turn, fatal=(LeaseLost,)))
        finally:
            await asyncio.gather(*(turns.close() for _, turns in made if isinstance(turns, Closes)))
