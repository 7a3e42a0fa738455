"""The lanes together: how deep they are, how old their oldest bell is, and whether a worker lives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core.orders import Lane, Urgency
from app.queue.claims import LANE_KEYS
from app.queue.errors import QueueUnreachable
from app.queue.lanes import BAND_WIDTH_MS, HEALTH_KEY, LANES, OTHER_VERSIONS_KEY, rank_time_ms
from app.queue.scripts import DEPTHS, Call, run_script

_COLUMNS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneDepth:
    """One lane: bells that wait, those put off, those held by a worker (of the first 1,000), and the oldest's age."""

    waiting: int
    delayed: int
    running: int
    oldest_age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """Both lanes, and whether any worker reported within the last ten seconds."""

    lanes: Mapping[Lane, LaneDepth]
    worker_alive: bool


class QueueManager:
    """Reads the state of the queue; changes nothing."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def status(self) -> QueueStatus:
        """Return the present state. Raises `QueueUnreachable` when Redis does not answer."""
        try:
            answer = await run_script(self._redis, Call(DEPTHS, LANE_KEYS, [BAND_WIDTH_MS, len(Urgency)]))
            alive = bool(await self._redis.exists(HEALTH_KEY))
        except (RedisError, OSError) as error:
            raise QueueUnreachable("the depth of the lanes cannot be read") from error
        return QueueStatus(lanes=_lane_depths(cast(list[int | bytes], answer)), worker_alive=alive)

    async def bells_of_other_versions(self) -> int:
        """Return how many bells of other releases were thrown away. Raises `QueueUnreachable`."""
        try:
            return int(await self._redis.get(OTHER_VERSIONS_KEY) or 0)
        except (RedisError, OSError) as error:
            raise QueueUnreachable("the count cannot be read") from error


def _lane_depths(answer: list[int | bytes]) -> dict[Lane, LaneDepth]:
    now_ms = int(answer[0])
    depths = {}
    for index, lane in enumerate(LANES):
        ready, delayed, held, oldest = answer[1 + index * _COLUMNS : 1 + (index + 1) * _COLUMNS]
        age_s = (now_ms - rank_time_ms(int(float(oldest)))) / 1000 if oldest else None
        depths[lane] = LaneDepth(
            waiting=int(ready) - int(held), delayed=int(delayed), running=int(held), oldest_age_s=age_s
        )
    return depths
