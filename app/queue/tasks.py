"""The job of the order lanes: hands a command's id to the executor. The one table from its answer to the queue's."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol, cast
from uuid import UUID

from arq.typing import WorkerCoroutine
from arq.worker import Function, func
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.core.instruments import Exchange
from app.core.orders import Urgency
from app.infra.logging import get_logger
from app.queue.jobs import PutOff
from app.queue.lanes import OTHER_VERSIONS_KEY
from app.queue.producer import JOB_NAME, PAYLOAD_VERSION
from app.services.broker_pool import UnknownAccount
from app.services.order_executor import Later

log = get_logger(__name__)


class Executor(Protocol):
    """What carries a command out."""

    async def run(
        self, *, command_id: UUID, account_id: UUID, urgency: Urgency, exchange: Exchange, rung_at: datetime | None
    ) -> Later | None:
        """Carry out a command as far as it goes now."""


def execute_command_job(executor: Executor) -> Function:
    """Return the job function that arq calls; its name in the queue is `execute_command`."""

    async def execute_command(
        ctx: dict[str, object],
        *,
        v: int,
        command_id: str,
        account_id: str,
        urgency: str,
        exchange: str,
        rung_ms: int,
        **_later: object,
    ) -> PutOff | None:
        if v != PAYLOAD_VERSION:
            # Written by another release: the sweep rings again with a payload of this one.
            log.error("queue.payload.version", command_id=command_id, version=v)
            await _count_other_version(ctx)
            return None
        try:
            later = await executor.run(
                command_id=UUID(command_id),
                account_id=UUID(account_id),
                urgency=Urgency(urgency),
                exchange=Exchange(exchange),
                rung_at=datetime.fromtimestamp(rung_ms / 1000, UTC),
            )
        except UnknownAccount:
            log.exception("queue.account.unknown", command_id=command_id, account_id=account_id)
            return None
        return None if later is None else PutOff(later.delay_s)

    return func(cast(WorkerCoroutine, execute_command), name=JOB_NAME)


async def _count_other_version(ctx: dict[str, object]) -> None:
    redis = ctx.get("redis")
    if isinstance(redis, Redis):
        with suppress(RedisError, OSError):
            await redis.incr(OTHER_VERSIONS_KEY)
