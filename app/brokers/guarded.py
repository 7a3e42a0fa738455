"""The guard in front of every broker write: session, then a rate permit, then, after the claim, the write itself.

"Not now" is an answer of its own: the caller puts the command off and the database is not touched.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from redis.exceptions import RedisError

from app.core.instruments import Exchange
from app.core.orders import OrderType
from app.core.outcomes import NotSent, PlaceOutcome
from app.core.ports import Broker, BrokerSession, Clock, PlaceRequest, RatePermits, StoredTokens, TokenStore
from app.infra.logging import get_logger
from app.infra.transactions import in_transaction

PERMIT_VALID_S = 0.1
"""A permit counts writes of this moment. After a slow claim another one is taken."""
NO_SESSION_WAIT_S = 0.5
NO_BUDGET_KNOWN_WAIT_S = 0.5

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Spend:
    """What a write spends: the budget of its exchange segment, and, where it is urgent, the headroom kept for such."""

    exchange: Exchange
    urgent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NotNow:
    """The guard is closed for the moment; `retry_after_s` says when to knock again."""

    reason: str
    retry_after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Leave to write once, soon, within a session."""

    tokens: StoredTokens
    spend: Spend
    granted_at: float


class GuardedBroker:
    """One account's broker behind its guard."""

    def __init__(
        self,
        broker: Broker,
        *,
        account_id: UUID,
        orders_per_second: int,
        tokens: TokenStore,
        permits: RatePermits,
        clock: Clock,
    ) -> None:
        self._broker = broker
        self._account_id = account_id
        self._per_second = orders_per_second
        self._tokens = tokens
        self._permits = permits
        self._clock = clock
        self._cached: StoredTokens | None = None

    @property
    def broker(self) -> Broker:
        """The adapter itself, for reads."""
        return self._broker

    async def session(self) -> BrokerSession | None:
        """Return the live session, or None while the account is not logged in."""
        tokens = await self._live_tokens()
        return tokens.session if tokens else None

    async def permit(self, spend: Spend) -> Permit | NotNow:
        """Return leave to write, or why not now."""
        tokens = await self._live_tokens()
        if tokens is None:
            return NotNow(reason="not logged in at the broker", retry_after_s=NO_SESSION_WAIT_S)
        try:
            wait_s = await self._permits.take(self._account_id, per_second=self._per_second)
        except (RedisError, OSError):
            return NotNow(reason="the rate budget cannot be read", retry_after_s=NO_BUDGET_KNOWN_WAIT_S)
        if wait_s > 0:
            return NotNow(reason="over the rate budget", retry_after_s=wait_s)
        return Permit(tokens=tokens, spend=spend, granted_at=self._clock.monotonic())

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

    async def _write(self, permit: Permit, call: Callable[[BrokerSession], Awaitable[PlaceOutcome]]) -> PlaceOutcome:
        if in_transaction():
            raise RuntimeError("a broker call inside an open database transaction")
        if self._clock.monotonic() - permit.granted_at > PERMIT_VALID_S:
            renewed = await self._renewed_permit(permit.spend)
            if isinstance(renewed, NotNow):
                return NotSent(reason=renewed.reason)
            permit = renewed
        outcome = await call(permit.tokens.session)
        if isinstance(outcome, NotSent) and outcome.session_dead:
            await self._try_report_dead(permit.tokens)
        return outcome

    async def report_dead(self, tokens: StoredTokens | None = None) -> None:
        """Tell everyone that the broker called the session over."""
        dead = tokens or self._cached
        self._cached = None
        if dead is not None:
            await self._tokens.mark_dead(self._account_id, dead.version)

    async def _renewed_permit(self, spend: Spend) -> Permit | NotNow:
        try:
            return await self.permit(spend)
        except Exception as error:  # isolation point: nothing is written yet, and the caller must learn just that
            log.exception("broker.permit.failed", account_id=str(self._account_id))
            return NotNow(reason=f"no permit: {type(error).__name__}", retry_after_s=NO_BUDGET_KNOWN_WAIT_S)

    async def _try_report_dead(self, tokens: StoredTokens) -> None:
        try:
            await self.report_dead(tokens)
        except Exception:  # isolation point: the write's outcome is known, and the next write reports again
            log.exception("broker.session.not_reported", account_id=str(self._account_id))

    async def _live_tokens(self) -> StoredTokens | None:
        cached = self._cached
        if cached is None or cached.session.expires_at <= self._clock.now():
            cached = self._cached = await self._tokens.get(self._account_id)
        return cached
