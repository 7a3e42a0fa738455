"""The guard in front of every broker write: session, then a permit, then, after the claim, the write itself.

A permit is leave of the rate budget and of the circuit breaker. "Not now" is an answer of its own: the caller puts
the command off and the database is not touched.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from redis.exceptions import RedisError

from app.brokers.base import EndpointGroup, RateLimit
from app.brokers.breaker import BreakerChange, Health, health_of
from app.brokers.governor import Budget, Governor, Granted, NotNowReason, Spend, Wait
from app.brokers.pacing import Pacing
from app.brokers.read_budget import ReadBudget
from app.brokers.sending import Sending, Unleft
from app.brokers.sockets import write_leave
from app.core.orders import OrderType
from app.core.outcomes import NotSent, PlaceOutcome
from app.core.ports import Broker, BrokerSession, Clock, PlaceRequest, StoredTokens, TokenStore
from app.infra.logging import get_logger
from app.infra.transactions import in_transaction

NO_SESSION_KNOWN_S = 0.2
"""How long "not logged in" is believed before the store is asked again: thousands may want to know."""

LOOK_AGAIN_S = 5.0
"""An open breaker may be closed early by an urgent probe, so nobody waits longer than this to look again."""

REPORT_TIMEOUT_S = 0.2
"""What a write's outcome is held up at most for the breaker's sake."""

log = get_logger(__name__)

__all__ = ["GuardedBroker", "NotNow", "NotNowReason", "Permit", "Spend"]

BreakerListener = Callable[[BreakerChange], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotNow:
    """The guard is closed for the moment; `retry_after_s` says when to knock again."""

    reason: NotNowReason
    retry_after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Leave to write once, soon, within a session. `asked_at` is monotonic: the permit is younger than that."""

    tokens: StoredTokens
    spend: Spend
    granted: Granted
    asked_at: float


class GuardedBroker:
    """One account's broker behind its guard. `reads` are the broker's limits of reading; none for paper."""

    def __init__(
        self,
        broker: Broker,
        *,
        account_id: UUID,
        budget: Budget,
        tokens: TokenStore,
        governor: Governor,
        clock: Clock,
        on_breaker: BreakerListener,
        reads: dict[EndpointGroup, RateLimit] | None = None,
    ) -> None:
        self._broker = broker
        self._account_id = account_id
        self._budget = budget
        self._tokens = tokens
        self._governor = governor
        self._clock = clock
        self._on_breaker = on_breaker
        self._reads = ReadBudget(budget, governor, reads or {}, clock)
        self._cached: StoredTokens | None = None
        self._ask_tokens_at = 0.0
        self._breaker_seen_open = False
        self._pacing = {
            (reason, urgent): Pacing(clock.monotonic) for reason in NotNowReason for urgent in (False, True)
        }

    @property
    def broker(self) -> Broker:
        """The adapter itself, for reads."""
        return self._broker

    async def session(self) -> BrokerSession | None:
        """Return the live session, or None while the account is not logged in."""
        tokens = await self._live_tokens()
        return tokens.session if tokens else None

    async def wait_for_budget(self, group: EndpointGroup) -> None:
        """Return when a read of the group may be sent; raises `BrokerUnreadable` when that is too long from now."""
        await self._reads.wait(group)

    async def permit(self, spend: Spend) -> Permit | NotNow:
        """Return leave to write, or why not now and when to ask again."""
        tokens = await self._tokens_or_recently_none()
        if tokens is None:
            return self._not_now(spend, NotNowReason.LOGGED_OUT)
        self._over(spend, NotNowReason.LOGGED_OUT)
        asked_at = self._clock.monotonic()
        answer = await self._take(spend)
        if isinstance(answer, Wait):
            return self._not_now(spend, answer.reason, answer.seconds)
        return Permit(tokens=tokens, spend=spend, granted=answer, asked_at=asked_at)

    async def give_back(self, permit: Permit) -> None:
        """Return a permit under which nothing was written. Never raises: it would only have cost others a moment."""
        try:
            async with asyncio.timeout(REPORT_TIMEOUT_S):
                await self._governor.give_back(self._budget, permit.spend, permit.granted)
        except (RedisError, OSError) as error:
            log.debug("broker.permit.kept", error=repr(error))

    async def place(self, permit: Permit, request: PlaceRequest, *, deadline: float) -> PlaceOutcome:
        """Place one order for which a claim is committed; nothing is written past `deadline` (monotonic)."""
        return await self._write(permit, lambda session: self._broker.place(session, request, deadline=deadline))

    async def modify(
        self, permit: Permit, broker_order_id: str, request: PlaceRequest, *, deadline: float
    ) -> PlaceOutcome:
        """Change one order for which a claim is committed; nothing is written past `deadline` (monotonic)."""
        return await self._write(
            permit, lambda session: self._broker.modify(session, broker_order_id, request, deadline=deadline)
        )

    async def cancel(
        self, permit: Permit, broker_order_id: str, order_type: OrderType, *, deadline: float
    ) -> PlaceOutcome:
        """Cancel one order for which a claim is committed; nothing is written past `deadline` (monotonic)."""
        return await self._write(
            permit, lambda session: self._broker.cancel(session, broker_order_id, order_type, deadline=deadline)
        )

    async def report_dead(self, tokens: StoredTokens | None = None) -> None:
        """Tell everyone that the broker called the session over."""
        dead = tokens or self._cached
        self._cached = None
        if dead is not None:
            await self._tokens.mark_dead(self._account_id, dead.version)

    async def _write(self, permit: Permit, call: Callable[[BrokerSession], Awaitable[PlaceOutcome]]) -> PlaceOutcome:
        if in_transaction():
            raise RuntimeError("a broker call inside an open database transaction")
        sending = Sending(
            self._governor,
            self._budget,
            permit.spend,
            granted=permit.granted,
            asked_at=permit.asked_at,
            clock=self._clock,
        )
        try:
            while sending.ended():
                await sending.renew()
        except Unleft as closed:
            return NotSent(reason=str(closed))
        token = write_leave.set(sending)
        began_at = self._clock.monotonic()
        sending.begin_keeping()
        try:
            outcome = await call(permit.tokens.session)
        except Exception:  # isolation point: the breaker counts it, the caller decides what it means
            await self._tell_breaker(sending.granted, Health.BAD)
            raise
        finally:
            sending.end_keeping()
            write_leave.reset(token)
        await self._tell_breaker(sending.granted, health_of(outcome, took_s=self._clock.monotonic() - began_at))
        if isinstance(outcome, NotSent) and outcome.session_dead:
            await self._try_report_dead(permit.tokens)
        return outcome

    async def _take(self, spend: Spend) -> Granted | Wait:
        try:
            answer = await self._governor.take(self._budget, spend)
        except (RedisError, OSError) as error:
            log.debug("broker.permit.unreadable", error=repr(error))
            return Wait(reason=NotNowReason.REDIS_AWAY, seconds=0.0)
        if isinstance(answer, Granted):
            self._over(spend, NotNowReason.REDIS_AWAY)
            if not answer.probe:
                self._over(spend, NotNowReason.BREAKER_OPEN)
                await self._note_closed_unseen()
        elif answer.reason is NotNowReason.BREAKER_OPEN:
            self._breaker_seen_open = True
        return answer

    def _not_now(self, spend: Spend, reason: NotNowReason, wait_s: float = 0.0) -> NotNow:
        # The budget's own queue spreads those who wait for it.
        if reason is not NotNowReason.OVER_BUDGET:
            wait_s = self._pacing[reason, spend.urgent].wait_s(min(wait_s, LOOK_AGAIN_S))
        return NotNow(reason=reason, retry_after_s=wait_s)

    def _over(self, spend: Spend, reason: NotNowReason) -> None:
        self._pacing[reason, spend.urgent].over()

    async def _tell_breaker(self, granted: Granted, health: Health) -> None:
        """Report what the breaker needs to know: most good ends of a healthy broker are none of its business."""
        if health is not Health.BAD and not granted.probe and not (granted.shaky and health is Health.GOOD):
            return
        try:
            async with asyncio.timeout(REPORT_TIMEOUT_S):
                change = await self._governor.report(self._budget, granted, health)
        except (RedisError, OSError) as error:
            log.warning("broker.breaker.not_told", account_id=str(self._account_id), error=repr(error))
            return
        if change is not None:
            self._breaker_seen_open = change is BreakerChange.OPENED
            await self._announce(change)

    async def _note_closed_unseen(self) -> None:
        """Close what was announced, where another worker or a wipe of Redis closed the breaker."""
        if self._breaker_seen_open:
            self._breaker_seen_open = False
            await self._announce(BreakerChange.CLOSED)

    async def _announce(self, change: BreakerChange) -> None:
        try:
            await self._on_breaker(change)
        except Exception:  # isolation point: the write's outcome is known and must reach its record
            log.exception("broker.breaker.not_announced", account_id=str(self._account_id), change=change)

    async def _try_report_dead(self, tokens: StoredTokens) -> None:
        try:
            await self.report_dead(tokens)
        except Exception:  # isolation point: the write's outcome is known, and the next write reports again
            log.exception("broker.session.not_reported", account_id=str(self._account_id))

    async def _tokens_or_recently_none(self) -> StoredTokens | None:
        if self._cached is None and self._clock.monotonic() < self._ask_tokens_at:
            return None
        tokens = await self._live_tokens()
        if tokens is None:
            self._ask_tokens_at = self._clock.monotonic() + NO_SESSION_KNOWN_S
        return tokens

    async def _live_tokens(self) -> StoredTokens | None:
        cached = self._cached
        if cached is None or cached.session.expires_at <= self._clock.now():
            cached = self._cached = await self._tokens.get(self._account_id)
        return cached
