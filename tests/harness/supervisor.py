"""A supervisor for the roles of a system: what ends is started again at once, what froze goes on after a while."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from signal import SIGKILL

from tests.harness.roles import RoleProcess
from tests.harness.system import System

WATCH_EVERY_S = 0.02
"""How late an end or a freeze by itself is noticed at most, on an idle machine."""

Arm = Callable[[str], Mapping[str, str]]
"""Gives a role that is started its additional environment, such as its fail points."""

FreezeFor = Callable[[str], float]
"""Gives for how many seconds a role stays frozen."""


class Harm(StrEnum):
    """What a process suffered."""

    KILL = "kill"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A process that was killed or frozen. `at` is by this machine's clock, which is the database's too."""

    harm: Harm
    role: str
    pid: int
    at: datetime
    by_itself: bool


class Supervisor:
    """Watches the roles of a system, and keeps a record of what they suffered."""

    def __init__(self, system: System, *, arm: Arm, freeze_for: FreezeFor) -> None:
        self.incidents: list[Incident] = []
        self.crashes: list[str] = []
        """Roles that ended in another way than by a kill, with their last words."""
        self._system = system
        self._arm = arm
        self._freeze_for = freeze_for
        self._left_alone: set[RoleProcess] = set()
        self._thaws: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Start what ends and thaw what froze while the block runs; nothing stays frozen after it."""
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch())
            yield
            watch.cancel()

    async def _watch(self) -> None:
        try:
            while True:
                for process in self._system.processes():
                    if process not in self._left_alone:
                        self._look_after(process)
                await asyncio.sleep(WATCH_EVERY_S)
        finally:
            for thaw in self._thaws:
                thaw.cancel()
            for process in self._system.processes():
                if process.frozen:
                    process.resume()

    def kill(self, process: RoleProcess) -> None:
        """SIGKILL a process and start it again."""
        self._note(Harm.KILL, process, by_itself=False)
        process.kill()
        process.start(self._arm(process.role))

    def freeze(self, process: RoleProcess) -> None:
        """Freeze a process; who calls this thaws it with `thaw`."""
        self._note(Harm.STOP, process, by_itself=False)
        process.pause()

    def thaw(self, process: RoleProcess, pid: int) -> None:
        """Let a process go on, unless another has taken its place."""
        if process.pid == pid and process.running:
            process.resume()

    async def replace(self, process: RoleProcess) -> None:
        """End a process in an orderly way and start it anew, as an upgrade would."""
        self._left_alone.add(process)
        try:
            await asyncio.to_thread(process.stop)
            process.start(self._arm(process.role))
        finally:
            self._left_alone.discard(process)

    def count(self, harm: Harm) -> int:
        """Return how often something happened to any role."""
        return sum(incident.harm is harm for incident in self.incidents)

    def _look_after(self, process: RoleProcess) -> None:
        if not process.running:
            if process.exit_code == -SIGKILL:
                self._note(Harm.KILL, process, by_itself=True)
            else:
                self.crashes.append(f"{process.role} ended with {process.exit_code}\n{process.log_tail()}")
            process.start(self._arm(process.role))
        elif not process.paused and process.frozen:
            self._note(Harm.STOP, process, by_itself=True)
            process.paused = True
            self._thaws.add(task := asyncio.create_task(self._thaw_later(process, process.pid)))
            task.add_done_callback(self._thaws.discard)

    async def _thaw_later(self, process: RoleProcess, pid: int) -> None:
        await asyncio.sleep(self._freeze_for(process.role))
        self.thaw(process, pid)

    def _note(self, harm: Harm, process: RoleProcess, *, by_itself: bool) -> None:
        self.incidents.append(
            Incident(harm=harm, role=process.role, pid=process.pid, at=datetime.now(UTC), by_itself=by_itself)
        )
