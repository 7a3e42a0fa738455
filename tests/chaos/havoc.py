"""The havoc: kills, freezes between claim and send, wiped and restarted Redis, at seeded moments."""

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.harness.roles import RoleProcess
from tests.harness.system import System

GAP_MIN_S, GAP_MAX_S = 0.4, 2.2
AIM_ATTEMPTS = 60
CLAIM_WAIT_S = 15.0
CLAIM_POLL_S = 0.001
VICTIMS = ("worker", "worker", "worker", "api", "keeper")
"""Three of five kills hit workers: they hold the claims."""

_LIVE_CLAIM = """
SELECT claimed_by FROM order_commands WHERE state = 'SUBMITTING' AND send_by > clock_timestamp() LIMIT 1
"""
_HELD_CLAIMS = """
SELECT o.tag, a.client_code FROM order_commands c JOIN orders o ON o.id = c.order_id
JOIN broker_accounts a ON a.id = o.account_id WHERE c.state = 'SUBMITTING' AND c.claimed_by = $1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is broken; `stop_s` is how long a frozen worker stays so: longer than its claims and leases last."""

    kills: int
    stops: int
    wipes: int
    redis_restarts: int
    stop_s: float

    @property
    def lasts_s(self) -> float:
        """About how long the havoc takes: freezes go one after the other, beside all the rest."""
        actions = self.kills + self.wipes + self.redis_restarts
        return max(actions * (GAP_MIN_S + GAP_MAX_S) / 2, self.stops * (self.stop_s + 1.0))


class Havoc:
    """Breaks things by its plan and counts what it did."""

    def __init__(self, system: System, plan: Plan, *, seed: int) -> None:
        self.kills = 0
        self.stops = 0
        self.stops_before_send = 0
        self.wipes = 0
        self.redis_restarts = 0
        self._system = system
        self._plan = plan
        self._chance = random.Random(seed)

    async def wreak(self) -> None:
        """Carry out the whole plan."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._freeze_workers())
            group.create_task(self._kill_and_wipe())

    async def _kill_and_wipe(self) -> None:
        plan = self._plan
        actions: list[Callable[[], Awaitable[None]]] = [self._kill] * plan.kills
        actions += [self._wipe] * plan.wipes + [self._restart_redis] * plan.redis_restarts
        self._chance.shuffle(actions)
        for act in actions:
            await asyncio.sleep(self._chance.uniform(GAP_MIN_S, GAP_MAX_S))
            await act()

    async def _kill(self) -> None:
        role = self._chance.choice(VICTIMS)
        living = [index for index, one in enumerate(self._system.roles(role)) if not one.paused]
        self._system.kill(role, self._chance.choice(living))
        self.kills += 1
        say(f"killed a {role}")

    async def _wipe(self) -> None:
        await asyncio.to_thread(self._system.redis.flushall)
        self.wipes += 1
        say("wiped Redis")

    async def _restart_redis(self) -> None:
        await asyncio.to_thread(self._system.redis.restart)
        self.redis_restarts += 1
        say("restarted Redis, empty")

    async def _freeze_workers(self) -> None:
        for _ in range(self._plan.stops):
            await self._freeze_a_worker()

    async def _freeze_a_worker(self) -> None:
        """Freeze a worker whose claim has not reached the exchange; after many tries, any that holds a claim."""
        for attempt in range(1, AIM_ATTEMPTS + 1):
            held = await self._freeze_a_claimer()
            if held is None:
                continue
            worker, unsent = held
            if unsent or attempt == AIM_ATTEMPTS:
                break
            worker.resume()
        else:
            return
        self.stops += 1
        self.stops_before_send += bool(unsent)
        say(f"froze a worker with {unsent} claims that are not at the exchange (try {attempt})")
        await asyncio.sleep(self._plan.stop_s)
        worker.resume()

    async def _freeze_a_claimer(self) -> tuple[RoleProcess, int] | None:
        """Freeze the owner of a live claim; returns it with how many of its claims the exchange has not seen."""
        owner = await self._claim_owner()
        pid = int(owner.split(":")[1]) if owner else 0
        worker = next((one for one in self._system.roles("worker") if one.pid == pid and not one.paused), None)
        if owner is None or worker is None:
            return None
        worker.pause()
        held = await self._system.database.fetch(_HELD_CLAIMS, owner)
        unsent = 0
        for client_code in {row["client_code"] for row in held}:
            tags = {order.tag for order in await self._system.exchange.ledger(client_code)}
            unsent += sum(1 for row in held if row["client_code"] == client_code and row["tag"] not in tags)
        return worker, unsent

    async def _claim_owner(self) -> str | None:
        try:
            async with asyncio.timeout(CLAIM_WAIT_S):
                while True:
                    owner: str | None = await self._system.database.fetchval(_LIVE_CLAIM)
                    if owner is not None:
                        return owner
                    await asyncio.sleep(CLAIM_POLL_S)
        except TimeoutError:
            return None


def say(text: str) -> None:
    """Tell of progress; stdout stays free for the result."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201
