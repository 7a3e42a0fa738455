"""Carrying one command to the broker: guard, claim, send, record. At most one process ever sends an attempt."""

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_random_exponential

from app.brokers.guarded import GuardedBroker, NotNow, Permit, Spend
from app.core.instruments import Exchange
from app.core.orders import Lane, Urgency
from app.core.outcomes import NotSent, PlaceOutcome, Throttled
from app.core.ports import Clock, Doorbell
from app.core.transitions import OrderEvent
from app.infra.database import is_database_away
from app.infra.events import Channel, EventBell
from app.infra.failpoints import Point, reach
from app.infra.logging import get_logger
from app.infra.metrics import BROKER_CALLS, BROKER_SECONDS, ORDERS_ENDED
from app.repositories.commands import Claim, Finding, Recorded
from app.repositories.unit_of_work import UnitOfWork
from app.services.broker_pool import BrokerPool
from app.services.command_sending import finding_of, send
from app.services.priority_gate import PriorityGate
from app.services.unclaimed_commands import UnclaimedCommands

RECORD_RETRY_S = 0.2
RECORD_RETRY_S_MAX = 2.0
NOT_SENT_WAIT_S = 0.2
NOT_SENT_WAIT_S_MAX = 5.0
JITTER_PERCENT = 25
"""Waits are stretched by up to this, so that what failed together does not come back together."""
SIBLING_WAIT_S = 0.2
"""How long a command waits for the other one of its order that is on its way."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Later:
    """The command is to be tried again after `delay_s` seconds."""

    delay_s: float


class OrderExecutor:
    """Runs commands. `record_for_s` bounds how long an outcome is held while the database is away."""

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        brokers: BrokerPool,
        clock: Clock,
        worker: str,
        send_window_s: float,
        record_for_s: float,
        bell: EventBell,
        doorbell: Doorbell,
    ) -> None:
        self._bell = bell
        self._unclaimed = UnclaimedCommands(uow=uow, doorbell=doorbell, worker=worker)
        self._gate = PriorityGate()
        self._uow = uow
        self._brokers = brokers
        self._clock = clock
        self._worker = worker
        self._send_window_s = send_window_s
        self._record_for_s = record_for_s

    async def run(
        self,
        *,
        command_id: UUID,
        account_id: UUID,
        urgency: Urgency = Urgency.NORMAL,
        exchange: Exchange = Exchange.NSE,
        rung_at: datetime | None,
    ) -> Later | None:
        """Carry out a command as far as it goes now; None when nothing is left to do for this bell."""
        urgent = urgency.lane is Lane.PRIORITY
        spend = Spend(exchange, urgent=urgent, command_id=command_id, band=urgency.band)
        if urgent:
            with self._gate.urgent():
                return await self._carry_out(command_id, account_id, spend, rung_at)
        await self._gate.give_way()
        return await self._carry_out(command_id, account_id, spend, rung_at)

    async def _carry_out(
        self, command_id: UUID, account_id: UUID, spend: Spend, rung_at: datetime | None
    ) -> Later | None:
        broker = await self._brokers.get(account_id)
        permit = await broker.permit(spend)
        if isinstance(permit, NotNow):
            return Later(permit.retry_after_s)
        return await self._shielded(self._claim_and_send(broker, permit, command_id, rung_at))

    async def _claim_and_send(
        self, broker: GuardedBroker, permit: Permit, command_id: UUID, rung_at: datetime | None
    ) -> Later | None:
        # The local deadline starts before the claim is asked for, so it is never later than the database's.
        deadline = self._clock.monotonic() + self._send_window_s
        reach(Point.WORKER_BEFORE_CLAIM)
        async with self._uow.statement() as tx:
            claim = await tx.commands.claim(
                command_id, worker=self._worker, window_s=self._send_window_s, rung_at=rung_at
            ) or await tx.commands.claim_change(command_id, worker=self._worker, window_s=self._send_window_s)
        if claim is None:
            await broker.give_back(permit)
            return Later(SIBLING_WAIT_S) if await self._unclaimed.look_after(command_id) else None
        reach(Point.WORKER_AFTER_CLAIM)
        sent_at = self._clock.now()
        outcome = await send(broker, permit, claim, deadline)
        reach(Point.WORKER_AFTER_ANSWER)
        answered_at = self._clock.now()
        BROKER_CALLS.labels(claim.kind.value, type(outcome).__name__).inc()
        BROKER_SECONDS.labels(claim.kind.value).observe((answered_at - sent_at).total_seconds())
        finding = finding_of(claim.kind, outcome, sent_at=sent_at, answered_at=answered_at)
        recorded = await self._record(claim, finding)
        if recorded is not None and finding.event is OrderEvent.REFUSED:
            ORDERS_ENDED.labels(recorded.status.value).inc()
        if recorded is not None and recorded.cancel_wanted:
            await self._unclaimed.release(claim.order_id)
        await self._bell.ring(Channel.PROGRESS)
        log.info(
            "order.command.done",
            kind=claim.kind,
            order_id=str(claim.order_id),
            attempt=claim.attempt,
            outcome=type(outcome).__name__,
            reason=finding.reason,
        )
        return _again(outcome, claim.attempt)

    async def _record(self, claim: Claim, finding: Finding) -> Recorded | None:
        """Write the outcome; while the database is away, try on. Past the bound the keeper calls it UNKNOWN."""
        tries = AsyncRetrying(
            retry=retry_if_exception(is_database_away),
            wait=wait_random_exponential(multiplier=RECORD_RETRY_S, max=RECORD_RETRY_S_MAX),
            stop=stop_after_delay(self._record_for_s),
            reraise=True,
        )
        try:
            recorded: Recorded | None = await tries(self._record_once, claim, finding)
        except Exception:
            log.exception(
                "order.record.lost",
                order_id=str(claim.order_id),
                outcome=finding.event,
                broker_order_id=finding.broker_order_id,
            )
            raise
        if recorded is None:
            log.error("order.record.conflict", order_id=str(claim.order_id), outcome=finding.event)
        return recorded

    async def _record_once(self, claim: Claim, finding: Finding) -> Recorded | None:
        reach(Point.WORKER_BEFORE_RECORD)
        async with self._uow.statement() as tx:
            recorded = await tx.commands.record(claim, finding, worker=self._worker)
        reach(Point.WORKER_AFTER_RECORD)
        return recorded

    async def _shielded(self, work: Coroutine[None, None, Later | None]) -> Later | None:
        """Finish what is claimed even when this job is cancelled, then let the cancel through."""
        task = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task], timeout=self._send_window_s + self._record_for_s)
            raise


def _again(outcome: PlaceOutcome, attempt: int) -> Later | None:
    """Return when to try again what was provably not sent: soon, then ever later, and not all at the same moment."""
    if not isinstance(outcome, (NotSent, Throttled)):
        return None
    wait_s = min(NOT_SENT_WAIT_S * 2 ** min(attempt - 1, 10), NOT_SENT_WAIT_S_MAX)
    asked_s = outcome.retry_after_s if isinstance(outcome, Throttled) else 0.0
    stretch_percent = random.randint(0, JITTER_PERCENT)  # noqa: S311  spreading needs no secrecy
    return Later(max(wait_s, asked_s) * (100 + stretch_percent) / 100)
