"""A worker's side of the leases: what it claims, renews and gives back, in one round trip a turn."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core.orders import Lane
from app.queue.jobs import ClaimedJob, FinishedJob
from app.queue.lanes import LANES, lane_keys
from app.queue.scripts import CLAIM, FINISH, RENEW, Argument, Call, run_scripts

LANE_KEYS = tuple(
    key for lane in LANES for key in (lane_keys(lane).ready, lane_keys(lane).delayed, lane_keys(lane).ranks)
)
LANE_INDEX = {lane: index for index, lane in enumerate(LANES, start=1)}
_CLAIM_HEAD = 2
_CLAIM_ROW = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeSlots:
    """How many jobs may be claimed: in all, and of each lane."""

    total: int
    lanes: Mapping[Lane, int]


@dataclass(slots=True, kw_only=True)
class TurnAnswer:
    """What came of a turn. `error` is set when a part of it failed; the other parts hold nevertheless."""

    claimed: list[ClaimedJob] = field(default_factory=list)
    next_due_s: float | None = None
    finished: bool = True
    renewed: bool = True
    error: RedisError | None = None


class Claims:
    """The leases of one worker. Its token is random, so no other worker, nor this one restarted, can end them."""

    def __init__(self, redis: Redis, *, lease_s: float) -> None:
        self.token = uuid4().hex
        self._redis = redis
        self._lease_ms = int(lease_s * 1000)

    async def turn(
        self,
        *,
        finished: Sequence[FinishedJob] = (),
        renew: Collection[str] = (),
        free: FreeSlots | None = None,
    ) -> TurnAnswer:
        """Give back what has finished, renew leases and fill free slots, in this order.

        Raises `RedisError` or `OSError` when Redis could not be talked to. Nothing is known then, and all of it may
        be said again: finishing and renewing are harmless twice, and what was claimed comes back when its lease ends.
        """
        calls: list[Call] = []
        if finished:
            calls.append(Call(FINISH, LANE_KEYS, self._finish_args(finished)))
        if renew:
            calls.append(Call(RENEW, (), [self.token, self._lease_ms, *renew]))
        if free is not None and free.total > 0:
            limits = [free.lanes[lane] for lane in LANES]
            calls.append(Call(CLAIM, LANE_KEYS, [self.token, self._lease_ms, free.total, *limits]))
        answer = TurnAnswer()
        if calls:
            for call, result in zip(calls, await run_scripts(self._redis, calls), strict=True):
                _note(answer, call, result)
        return answer

    def _finish_args(self, finished: Sequence[FinishedJob]) -> list[Argument]:
        args: list[Argument] = [self.token]
        for job in finished:
            args += (LANE_INDEX[job.lane], job.job_id, -1 if job.delay_ms is None else job.delay_ms)
        return args


def _note(answer: TurnAnswer, call: Call, result: object) -> None:
    if isinstance(result, RedisError):
        answer.error = result
        answer.finished &= call.script is not FINISH
        answer.renewed &= call.script is not RENEW
    elif call.script is CLAIM and isinstance(result, list):
        now_ms, due_ms = int(result[0]), int(result[1])
        answer.next_due_s = None if due_ms < 0 else max(0, due_ms - now_ms) / 1000
        answer.claimed = [
            ClaimedJob(result[i + 1].decode(), LANES[result[i] - 1], int(float(result[i + 2])), result[i + 3])
            for i in range(_CLAIM_HEAD, len(result), _CLAIM_ROW)
        ]
