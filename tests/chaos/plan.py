"""How much is broken in a run, by its number of orders, and the fail points that some processes are started with."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from app.infra.failpoints import SEED_VARIABLE, VARIABLE, Point

ORDERS_PER_SECOND = 26.0
"""How fast orders come in a long run; a short one takes as long as its havoc."""

SECONDS_PER_ACTION = 1.0
FREEZERS = 2
"""So many processes may be frozen at the same time, of three workers and the others."""

ARMED = 0.4
"""Share of started processes that have fail points."""

_WORKER = (
    Point.WORKER_BEFORE_CLAIM,
    Point.WORKER_AFTER_CLAIM,
    Point.WORKER_BEFORE_SEND,
    Point.WORKER_AFTER_SEND,
    Point.WORKER_AFTER_ANSWER,
    Point.WORKER_BEFORE_RECORD,
    Point.WORKER_AFTER_RECORD,
    Point.QUEUE_AFTER_TAKE,
)
_UOW = (Point.UOW_BEFORE_COMMIT, Point.UOW_AFTER_COMMIT)
_POINTS: Mapping[str, tuple[Point, ...]] = {
    "worker": (*_WORKER, *_UOW),
    "api": (Point.API_AFTER_SAVE, Point.API_BEFORE_ANSWER, *_UOW),
    "keeper": (Point.KEEPER_AFTER_READ, Point.KEEPER_BEFORE_APPLY, *_UOW),
    "feed": _UOW,
    "scheduler": _UOW,
}
_KILL, _STOP = 0.004, 0.0006
"""Chances at each passing of a point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How often what is broken. `long_stop_s` is longer than a worker's claims and leases last."""

    kills: int
    stops: int
    wipes: int
    redis_restarts: int
    redis_pauses: int
    pg_restarts: int
    pg_pauses: int
    exchange_kills: int
    storms: int
    clock_jumps: int
    long_stop_s: float
    lasts_s: float

    @property
    def actions(self) -> int:
        """How many things are broken one after the other, beside the freezes."""
        redis, postgres = self.wipes + self.redis_restarts + self.redis_pauses, self.pg_restarts + self.pg_pauses
        return self.kills + redis + postgres + self.exchange_kills + self.storms + self.clock_jumps


def make_plan(orders: int, *, long_stop_s: float) -> Plan:
    """Return how much is broken during so many orders: twelve kills, three freezes and two wipes from eighty on."""
    kills, stops = max(min(12, orders // 6), orders // 55), max(min(3, orders // 20), orders // 200)
    return Plan(
        kills=kills,
        stops=stops,
        wipes=max(min(2, orders // 40), orders // 800),
        redis_restarts=max(1, orders // 2500),
        redis_pauses=max(1, orders // 2500),
        pg_restarts=max(1, orders // 1500),
        pg_pauses=max(1, orders // 2500),
        exchange_kills=max(1, orders // 1600),
        storms=max(1, orders // 1000),
        clock_jumps=max(1, orders // 1000),
        long_stop_s=long_stop_s,
        lasts_s=max(
            orders / ORDERS_PER_SECOND, kills * SECONDS_PER_ACTION, (stops + FREEZERS - 1) // FREEZERS * long_stop_s
        ),
    )


class Armoury:
    """Gives every process that is started its fail points, or none; after `lay_down` none at all."""

    def __init__(self, *, seed: int) -> None:
        self._chance = random.Random(seed)
        self._laid_down = False

    def environment(self, role: str) -> Mapping[str, str]:
        """Return the environment with which a process of a role is started."""
        points = _POINTS.get(role, ())
        if self._laid_down or not points or self._chance.random() >= ARMED:
            return {}
        rules = [f"{point}=kill@{_KILL};{point}=stop@{_STOP}" for point in points]
        return {VARIABLE: ";".join(rules), SEED_VARIABLE: str(self._chance.randrange(2**31))}

    def lay_down(self) -> None:
        """Arm no process any more."""
        self._laid_down = True
