"""One write on its way: its permit is fresh when the first byte leaves, and counts until the broker has answered."""

import asyncio

from redis.exceptions import RedisError

from app.brokers.governor import KEEP_EVERY_S, PERMIT_VALID_S, Budget, Governor, Granted, Spend, Wait
from app.brokers.sockets import DeadlinePassed
from app.core.ports import Clock
from app.infra.logging import get_logger

RENEWALS_MAX = 5
"""A process so slow that each permit is stale when it arrives gives up: the command goes back to the queue."""

log = get_logger(__name__)


class Unleft(DeadlinePassed):
    """The permit ended before the write could begin, and no other was to be had."""


class Sending:
    """Implements `sockets.WriteLeave` for one write."""

    def __init__(
        self, governor: Governor, budget: Budget, spend: Spend, *, granted: Granted, asked_at: float, clock: Clock
    ) -> None:
        self.granted = granted
        self._governor = governor
        self._budget = budget
        self._spend = spend
        self._monotonic = clock.monotonic
        self._ends_at = asked_at + PERMIT_VALID_S
        self._renewals = 0
        self._timer: asyncio.TimerHandle | None = None
        self._keeping: asyncio.Task[None] | None = None

    def ended(self) -> bool:
        """Whether the write may no longer begin."""
        return self._monotonic() >= self._ends_at

    async def renew(self) -> None:
        """Ask for leave again; raises `Unleft` where it is not given."""
        self._renewals += 1
        if self._renewals > RENEWALS_MAX:
            raise Unleft("every permit was too old when it came")
        asked_at = self._monotonic()
        try:
            answer = await self._governor.take(self._budget, self._spend, renewing=self.granted.permit)
        except Exception as error:  # noqa: BLE001  isolation point: nothing is written yet, and the caller must learn that
            log.warning("broker.permit.failed", error=repr(error))
            raise Unleft(f"no permit: {type(error).__name__}") from None
        if isinstance(answer, Wait):
            raise Unleft(f"permit too old: {answer.reason}")
        self.granted = answer
        self._ends_at = asked_at + PERMIT_VALID_S

    def begin_keeping(self) -> None:
        """Let the permit count until `end_keeping`. A quick answer costs no more than a timer."""
        self._timer = asyncio.get_running_loop().call_later(KEEP_EVERY_S, self._start_keeping)

    def end_keeping(self) -> None:
        """The write has ended."""
        if self._timer is not None:
            self._timer.cancel()
        if self._keeping is not None:
            self._keeping.cancel()

    def _start_keeping(self) -> None:
        self._keeping = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            try:
                async with asyncio.timeout(KEEP_EVERY_S):
                    await self._governor.keep(self._budget, self._spend, self.granted)
            except (RedisError, OSError) as error:
                # Without Redis nobody gets a permit; a Redis that comes back empty gives none for a whole window.
                log.debug("broker.permit.not_kept", error=repr(error))
            await asyncio.sleep(KEEP_EVERY_S)
