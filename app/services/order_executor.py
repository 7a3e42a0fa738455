"""Carrying one command to the broker: guard, claim, send, record. At most one process ever sends an attempt."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_random_exponential

from app.brokers.guarded import GuardedBroker, NotNow, Permit, Spend
from app.core.commands import CommandState
from app.core.instruments import Exchange
from app.core.orders import Lane, OrderStatus, Urgency
from app.core.outcomes import Accepted, Ambiguous, NotSent, PlaceOutcome, Refused, Throttled
from app.core.ports import Clock, PlaceRequest
from app.core.transitions import OrderEvent
from app.infra.database import is_database_away
from app.infra.events import Channel, EventBell
from app.infra.failpoints import Point, reach
from app.infra.logging import get_logger
from app.repositories.commands import Claim, Finding
from app.repositories.unit_of_work import UnitOfWork
from app.services.broker_pool import BrokerPool
from app.services.priority_gate import PriorityGate

RECORD_RETRY_S = 0.2
RECORD_RETRY_S_MAX = 2.0
NOT_SENT_WAIT_S = 0.2

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
    ) -> None:
        self._bell = bell
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
        if urgency.lane is Lane.PRIORITY:
            with self._gate.urgent():
                return await self._carry_out(command_id, account_id, Spend(exchange, urgent=True), rung_at)
        await self._gate.give_way()
        return await self._carry_out(command_id, account_id, Spend(exchange, urgent=False), rung_at)

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
            )
            if claim is None:
                await tx.commands.expire(command_id, worker=self._worker)
                return None
        reach(Point.WORKER_AFTER_CLAIM)
        sent_at = self._clock.now()
        outcome = await self._send(broker, permit, claim, deadline)
        reach(Point.WORKER_AFTER_ANSWER)
        finding = _finding(outcome, sent_at=sent_at, answered_at=self._clock.now())
        await self._record(claim, finding)
        await self._bell.ring(Channel.PROGRESS)
        log.info(
            "order.place.done",
            order_id=str(claim.order_id),
            attempt=claim.attempt,
            outcome=type(outcome).__name__,
            reason=finding.reason,
        )
        if isinstance(outcome, Throttled):
            return Later(outcome.retry_after_s)
        return Later(NOT_SENT_WAIT_S) if isinstance(outcome, NotSent) else None

    async def _send(self, broker: GuardedBroker, permit: Permit, claim: Claim, deadline: float) -> PlaceOutcome:
        if claim.trading_symbol is None or claim.token is None:
            return Refused(code="no_broker_symbol", message="the broker has no symbol for this instrument")
        request = PlaceRequest(
            exchange=claim.exchange,
            trading_symbol=claim.trading_symbol,
            token=claim.token,
            side=claim.side,
            quantity=claim.quantity,
            order_type=claim.order_type,
            product=claim.product,
            validity=claim.validity,
            price=claim.price,
            trigger_price=claim.trigger_price,
            tag=claim.tag,
        )
        reach(Point.WORKER_BEFORE_SEND)
        try:
            return await broker.place(permit, request, deadline=deadline)
        except Exception as error:  # isolation point: whatever fails here may have failed after the write
            log.exception("order.place.crashed", order_id=str(claim.order_id))
            return Ambiguous(reason=f"the adapter failed: {type(error).__name__}")

    async def _record(self, claim: Claim, finding: Finding) -> None:
        """Write the outcome; while the database is away, try on. Past the bound the keeper calls it UNKNOWN."""
        tries = AsyncRetrying(
            retry=retry_if_exception(is_database_away),
            wait=wait_random_exponential(multiplier=RECORD_RETRY_S, max=RECORD_RETRY_S_MAX),
            stop=stop_after_delay(self._record_for_s),
            reraise=True,
        )
        try:
            status: OrderStatus | None = await tries(self._record_once, claim, finding)
        except Exception:
            log.exception(
                "order.record.lost",
                order_id=str(claim.order_id),
                outcome=finding.event,
                broker_order_id=finding.broker_order_id,
            )
            raise
        if status is None:
            log.error("order.record.conflict", order_id=str(claim.order_id), outcome=finding.event)

    async def _record_once(self, claim: Claim, finding: Finding) -> OrderStatus | None:
        reach(Point.WORKER_BEFORE_RECORD)
        async with self._uow.statement() as tx:
            status = await tx.commands.record(claim, finding, worker=self._worker)
        reach(Point.WORKER_AFTER_RECORD)
        return status

    async def _shielded(self, work: Coroutine[None, None, Later | None]) -> Later | None:
        """Finish what is claimed even when this job is cancelled, then let the cancel through."""
        task = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task], timeout=self._send_window_s + self._record_for_s)
            raise


def _finding(outcome: PlaceOutcome, *, sent_at: datetime, answered_at: datetime) -> Finding:
    match outcome:
        case Accepted():
            return Finding(
                event=OrderEvent.ACCEPTED,
                command_state=CommandState.DONE,
                broker_order_id=outcome.broker_order_id,
                broker_unique_id=outcome.broker_unique_id,
                sent_at=sent_at,
                acknowledged_at=answered_at,
            )
        case Refused():
            return Finding(
                event=OrderEvent.REFUSED,
                command_state=CommandState.DONE,
                reason=f"{outcome.code}: {outcome.message}",
                sent_at=sent_at,
                acknowledged_at=answered_at,
            )
        case NotSent():
            return Finding(event=OrderEvent.NOT_SENT, command_state=CommandState.PENDING, reason=outcome.reason)
        case Throttled():
            return Finding(event=OrderEvent.THROTTLED, command_state=CommandState.PENDING, reason=outcome.reason)
        case Ambiguous():
            return Finding(
                event=OrderEvent.AMBIGUOUS, command_state=CommandState.UNKNOWN, reason=outcome.reason, sent_at=sent_at
            )
