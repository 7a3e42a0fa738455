"""The havoc: kills, freezes, wiped, paused and restarted servers, storms and clock jumps, at seeded moments."""

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg

from tests.chaos.exchange_faults import FAULTS, STORM, ExchangeFaults
from tests.chaos.plan import FREEZERS, Plan
from tests.harness.roles import RoleProcess
from tests.harness.supervisor import Supervisor
from tests.harness.system import System

CLAIM_WAIT_S = 5.0
CLAIM_POLL_S = 0.005
SHORT_STOP_S = 2.0
LONG_SHARE = 0.6
SERVER_PAUSE_S = 2.5
STORM_S = 2.0
JUMP_MS = 2_000
OFFSET_MAX_MS = 6_000
"""How far the exchange's clock runs ahead at most; then it is set right again."""

KEEPERS_APART = timedelta(seconds=10)

VICTIMS = ("worker",) * 6 + ("keeper",) * 2 + ("api", "feed", "scheduler")
"""More than half of the kills hit workers: they hold the claims."""

FROZEN = ("worker",) * 7 + ("keeper", "keeper", "api")

_LIVE_CLAIM = """
SELECT claimed_by FROM order_commands WHERE state = 'SUBMITTING' AND send_by > clock_timestamp() LIMIT 1
"""


class Havoc:
    """Breaks things by its plan and counts what it did; kills and freezes are counted by the supervisor."""

    def __init__(
        self,
        system: System,
        supervisor: Supervisor,
        faults: ExchangeFaults,
        plan: Plan,
        *,
        tag_mode: str,
        seed: int,
    ) -> None:
        self.wipes = 0
        self.pg_restarts = 0
        self.exchange_restarts = 0
        self._system = system
        self._supervisor = supervisor
        self._faults = faults
        self._plan = plan
        self._tag_mode = tag_mode
        self._chance = random.Random(seed)
        self._exchange = asyncio.Lock()
        self._offset_ms = 0

    async def wreak(self) -> None:
        """Carry out the whole plan."""
        stops = iter(range(self._plan.stops))
        async with asyncio.TaskGroup() as group:
            for _ in range(FREEZERS):
                group.create_task(self._freeze_some(stops))
            group.create_task(self._break_one_by_one())

    async def _break_one_by_one(self) -> None:
        plan = self._plan
        outages: list[Callable[[], Awaitable[None]]] = [self._wipe] * plan.wipes
        outages += [self._restart_redis] * plan.redis_restarts + [self._pause_redis] * plan.redis_pauses
        outages += [self._restart_postgres] * plan.pg_restarts + [self._pause_postgres] * plan.pg_pauses
        outages += [self._kill_exchange] * plan.exchange_kills + [self._storm] * plan.storms
        outages += [self._jump] * plan.clock_jumps
        self._chance.shuffle(outages)
        actions = _spread(outages, among=[self._kill] * plan.kills)
        started, gap_s = time.monotonic(), plan.lasts_s / len(actions)
        for number, act in enumerate(actions):
            due = started + number * gap_s
            # Some actions take seconds; what comes after them must not come all at once.
            await asyncio.sleep(max(gap_s * self._chance.uniform(0.2, 0.8), due - time.monotonic()))
            await act()

    async def _kill(self) -> None:
        role = self._chance.choice(VICTIMS)
        if role == "keeper" and not self._keeper_may_die():
            role = "worker"
        living = [process for process in self._system.roles(role) if not process.paused]
        if not living:
            return
        self._supervisor.kill(self._chance.choice(living))
        say(f"killed a {role}")

    def _keeper_may_die(self) -> bool:
        """Whether the standby has had the time to take over since the last keeper was harmed: there are two."""
        harmed = [incident.at for incident in self._supervisor.incidents if incident.role == "keeper"]
        return not harmed or datetime.now(UTC) - harmed[-1] > KEEPERS_APART

    async def _wipe(self) -> None:
        await asyncio.to_thread(self._system.redis.flushall)
        self.wipes += 1
        say("wiped Redis")

    async def _restart_redis(self) -> None:
        await asyncio.to_thread(self._system.redis.restart)
        say("restarted Redis, empty")

    async def _pause_redis(self) -> None:
        self._system.redis.pause()
        say("paused Redis")
        try:
            await asyncio.sleep(SERVER_PAUSE_S)
        finally:
            self._system.redis.resume()

    async def _restart_postgres(self) -> None:
        await asyncio.to_thread(self._system.postgres.restart)
        self.pg_restarts += 1
        say("restarted PostgreSQL, without an orderly end")

    async def _pause_postgres(self) -> None:
        self._system.postgres.pause()
        say("paused PostgreSQL")
        try:
            await asyncio.sleep(SERVER_PAUSE_S)
        finally:
            self._system.postgres.resume()

    async def _kill_exchange(self) -> None:
        async with self._exchange:
            await self._faults.count()
            (exchange,) = self._system.roles("exchange")
            self._supervisor.kill(exchange)
            self.exchange_restarts += 1
            say("killed the exchange")
            await self._system.until(self._system.exchange.is_up, what="the exchange answers again")
            await self._system.exchange.set_tag_echo(self._tag_mode)
            await self._system.exchange.shift_clock(self._offset_ms)
            await self._faults.apply(FAULTS)

    async def _storm(self) -> None:
        async with self._exchange:
            say("the exchange turns everyone away")
            await self._faults.apply(STORM)
            await asyncio.sleep(STORM_S)
            await self._faults.apply(FAULTS)

    async def _jump(self) -> None:
        async with self._exchange:
            self._offset_ms = 0 if self._offset_ms >= OFFSET_MAX_MS else self._offset_ms + JUMP_MS
            await self._system.exchange.shift_clock(self._offset_ms)
            say(f"the exchange's clock is {self._offset_ms} ms ahead")

    async def _freeze_some(self, stops: Iterator[int]) -> None:
        for _ in stops:
            process = await self._to_be_frozen()
            if process is None:
                continue
            pid = process.pid
            self._supervisor.freeze(process)
            is_long = process.role == "worker" and self._chance.random() < LONG_SHARE
            say(f"froze a {process.role}")
            await asyncio.sleep(self._plan.long_stop_s if is_long else SHORT_STOP_S)
            self._supervisor.thaw(process, pid)

    async def _to_be_frozen(self) -> RoleProcess | None:
        """Return the owner of a live claim, or now and then a process of another role."""
        role = self._chance.choice(FROZEN)
        if role == "keeper" and not self._keeper_may_die():
            role = "worker"
        living = [process for process in self._system.roles(role) if not process.paused]
        if role != "worker":
            return self._chance.choice(living) if living else None
        give_up = time.monotonic() + CLAIM_WAIT_S
        while time.monotonic() < give_up:
            owner = await self._claim_owner()
            for worker in self._system.roles("worker"):
                if not worker.paused and worker.pid == owner:
                    return worker
            await asyncio.sleep(CLAIM_POLL_S)
        return next((worker for worker in self._system.roles("worker") if not worker.paused), None)

    async def _claim_owner(self) -> int | None:
        try:
            owner: str | None = await self._system.database.fetchval(_LIVE_CLAIM, timeout=1.0)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            return None  # PostgreSQL is being broken too
        return int(owner.split(":")[1]) if owner else None


def _spread[Item](few: Sequence[Item], *, among: Sequence[Item]) -> list[Item]:
    """Return both as one list, the few evenly among the many: one outage is over before the next one begins."""
    placed = [((index + 0.5) / len(items), item) for items in (few, among) for index, item in enumerate(items)]
    return [item for _, item in sorted(placed, key=lambda one: one[0])]


def say(text: str) -> None:
    """Tell of progress; stdout stays free for the result."""
    print(f"{datetime.now(UTC):%H:%M:%S.%f} {text}", file=sys.stderr, flush=True)  # noqa: T201
