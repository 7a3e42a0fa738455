"""Permits for broker writes, shared by all workers through Redis: rate budget and circuit breaker in one round trip.

A permit counts from the moment it is given until `WINDOW_S` later; while its write is unanswered past that it is kept
alive. So at any moment at which a write may reach the broker, and for a second after it, its permit counts: no
calendar second of whatever clock sees more writes than permits that count together.
"""

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, cast
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from app.brokers import breaker
from app.brokers.base import EndpointGroup, RateLimit
from app.brokers.breaker import BreakerChange, Health
from app.brokers.governor_scripts import BEGIN, GIVE_BACK, KEEP, READ, REPORT, SEED, TAKE, Script
from app.brokers.limits import WriteLimits
from app.core.accounts import Account
from app.core.instruments import Exchange
from app.infra.logging import get_logger

WINDOW_S = 1.25
"""A second, and a quarter of one in which a write must have left and been answered, or its permit is renewed."""

PERMIT_VALID_S = 0.1
"""A write leaves within this of asking for its permit, or asks again."""

KEEP_EVERY_S = 0.1
"""How often the permit of an unanswered write is renewed: with `PERMIT_VALID_S` well below what the window leaves."""

MINUTE_S = 61.0
HOUR_S = 3601.0
"""A second more than the broker counts by."""

SEED_PAUSE_S = 0.2
EPOCH_KEY = "rate:epoch"
BAND_WIDTH_MS = 10**13

log = get_logger(__name__)


class NotNowReason(StrEnum):
    """Why a write must wait."""

    LOGGED_OUT = "logged_out"
    OVER_BUDGET = "over_budget"
    BREAKER_OPEN = "breaker_open"
    REDIS_AWAY = "redis_away"


@dataclass(frozen=True, slots=True)
class Spend:
    """What a write spends: the budget of its exchange segment, and, where it is urgent, the headroom kept for such.

    `command_id` keeps a command's place among those that wait, and `band` says how urgent it is among them.
    """

    exchange: Exchange
    urgent: bool
    command_id: UUID | None = None
    band: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Whose budget it is: a client code at a broker, which may be paper."""

    account_id: UUID
    name: str
    limits: WriteLimits

    @classmethod
    def of(cls, account: Account, limits: WriteLimits) -> "Budget":
        """Return the budget of an account."""
        return cls(
            account_id=account.id, name=f"{account.broker}:{account.mode}:{account.client_code}".lower(), limits=limits
        )

    def key(self, part: str) -> str:
        """Return the name of one of its keys in Redis."""
        return f"rate:{self.name}:{part}"

    @property
    def segment_limit(self) -> int:
        """The ceiling of a segment where it is below that of the client code, else 0."""
        return self.limits.segment_per_second if self.limits.segment_per_second < self.limits.per_second else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A permit. A probe is the one write that an open breaker lets through; `shaky`: lately writes ended badly."""

    permit: str
    probe: bool = False
    shaky: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """No permit for `seconds`."""

    reason: NotNowReason
    seconds: float


class Governor(Protocol):
    """The shared budget and breaker of broker writes. All calls raise what Redis raises."""

    async def take(self, budget: Budget, spend: Spend, *, renewing: str | None = None) -> Granted | Wait:
        """Take a permit, or renew one that was not used yet."""

    async def keep(self, budget: Budget, spend: Spend, granted: Granted) -> None:
        """Let the permit of a write that is still unanswered count on."""

    async def give_back(self, budget: Budget, spend: Spend, granted: Granted) -> None:
        """Return a permit under which nothing was written."""

    async def report(self, budget: Budget, granted: Granted, health: Health) -> BreakerChange | None:
        """Tell the breaker how a write ended; returns what that changed, to exactly one caller."""

    async def take_read(self, budget: Budget, group: EndpointGroup, limit: RateLimit) -> float:
        """Take one read of a group of endpoints; 0.0 when granted, else the seconds to wait."""


SentWrites = Callable[[UUID, float], Awaitable[Sequence[tuple[str, float]]]]
"""Returns the writes that an account sent within the last so many seconds: a name that is unique, and its age."""


class RedisGovernor:
    """Implements `Governor`. After a wipe of Redis it counts the writes of the last hour again by `sent_writes`."""

    def __init__(self, redis: Redis, *, sent_writes: SentWrites) -> None:
        self._redis = redis
        self._sent_writes = sent_writes
        self._seeding: set[str] = set()
        self._prefix = os.urandom(6).hex()
        self._numbers = itertools.count()

    async def begin(self) -> None:
        """Start the clock of an empty Redis early, so that the first order need not wait for it."""
        try:
            await self._run(BEGIN, [EPOCH_KEY], [])
        except (RedisError, OSError) as error:
            log.warning("rate.epoch.not_begun", error=repr(error))

    async def take(self, budget: Budget, spend: Spend, *, renewing: str | None = None) -> Granted | Wait:
        """Take a permit, or renew one that was not used yet. Raises what Redis or the seed's source raises."""
        permit = renewing or f"{self._prefix}:{next(self._numbers)}"
        answer = await self._ask_for_permit(budget, spend, permit, renewing=renewing is not None)
        if answer[0] == _TO_BE_SEEDED:
            if not await self._seed(budget):
                return Wait(reason=NotNowReason.OVER_BUDGET, seconds=SEED_PAUSE_S)
            answer = await self._ask_for_permit(budget, spend, permit, renewing=renewing is not None)
        match answer:
            case [1, probe, shaky]:
                return Granted(permit=permit, probe=probe == 1, shaky=shaky == 1)
            case [0, wait_ms]:
                return Wait(reason=NotNowReason.OVER_BUDGET, seconds=wait_ms / 1000)
            case [-1, wait_ms]:
                return Wait(reason=NotNowReason.BREAKER_OPEN, seconds=wait_ms / 1000)
            case _:
                return Wait(reason=NotNowReason.OVER_BUDGET, seconds=SEED_PAUSE_S)

    async def keep(self, budget: Budget, spend: Spend, granted: Granted) -> None:
        """Let the permit of a write that is still unanswered count on."""
        args: list[str | int] = [
            granted.permit,
            int(granted.probe),
            int(budget.segment_limit > 0),
            _ms(breaker.PROBE_S),
            _ms(2 * WINDOW_S),
        ]
        await self._run(KEEP, self._permit_keys(budget, spend), args)

    async def give_back(self, budget: Budget, spend: Spend, granted: Granted) -> None:
        """Return a permit under which nothing was written."""
        await self._run(GIVE_BACK, self._permit_keys(budget, spend), [granted.permit])

    async def report(self, budget: Budget, granted: Granted, health: Health) -> BreakerChange | None:
        """Tell the breaker how a write ended; returns what that changed, to exactly one caller."""
        args: list[str | int] = [
            granted.permit,
            int(granted.probe),
            _RESULTS[health],
            _ms(breaker.WINDOW_S),
            breaker.LAST_RESULTS,
            breaker.BAD_TO_OPEN,
            _ms(breaker.OPEN_S),
            _ms(breaker.OPEN_S_MAX),
            _ms(breaker.PROBE_AGAIN_S),
        ]
        return _CHANGES.get(await self._run(REPORT, [budget.key("state"), budget.key("results")], args))

    async def take_read(self, budget: Budget, group: EndpointGroup, limit: RateLimit) -> float:
        """Take one read of a group of endpoints; 0.0 when granted, else the seconds to wait."""
        args: list[str | int] = [
            f"{self._prefix}:{next(self._numbers)}",
            limit.per_second,
            _ms(WINDOW_S),
            limit.per_minute or 0,
            _ms(MINUTE_S),
        ]
        return cast(int, await self._run(READ, [budget.key(f"reads:{group}")], args)) / 1000

    async def _ask_for_permit(self, budget: Budget, spend: Spend, permit: str, *, renewing: bool) -> list[int]:
        limits = budget.limits
        keys = [
            EPOCH_KEY,
            budget.key("state"),
            budget.key("log"),
            budget.key("queue"),
            budget.key("back"),
            budget.key(f"segment:{spend.exchange}"),
        ]
        args: list[str | int] = [
            _ms(WINDOW_S),
            permit,
            "" if spend.command_id is None or renewing else str(spend.command_id),
            int(spend.urgent),
            -spend.band * BAND_WIDTH_MS,
            limits.per_second,
            limits.per_minute or 0,
            limits.per_hour or 0,
            budget.segment_limit,
            int(renewing),
            _ms(breaker.PROBE_S),
            _ms(MINUTE_S),
            _ms(HOUR_S),
        ]
        return cast(list[int], await self._run(TAKE, keys, args))

    async def _seed(self, budget: Budget) -> bool:
        """Count what was sent before Redis was wiped; false where another of this process is doing so."""
        if budget.name in self._seeding:
            return False
        self._seeding.add(budget.name)
        try:
            async with asyncio.timeout(_SEED_TIMEOUT_S):
                sent = await self._sent_writes(budget.account_id, HOUR_S)
        except Exception as error:  # noqa: BLE001  isolation point: without the count nothing is sent, and it is tried again
            log.warning("rate.not_seeded", budget=budget.name, error=repr(error))
            return False
        finally:
            self._seeding.discard(budget.name)
        args: list[str | int] = [_ms(HOUR_S)]
        for name, age_s in sent:
            args += (_ms(age_s), name)
        await self._run(SEED, [budget.key("state"), budget.key("log")], args)
        log.info("rate.seeded", budget=budget.name, writes=len(sent))
        return True

    def _permit_keys(self, budget: Budget, spend: Spend) -> list[str]:
        return [budget.key("state"), budget.key("log"), budget.key(f"segment:{spend.exchange}")]

    async def _run(self, script: Script, keys: list[str], args: Sequence[str | int]) -> object:
        run = cast(_Command, self._redis.execute_command)
        try:
            return await run("EVALSHA", script.digest, len(keys), *keys, *args)
        except NoScriptError:
            return await run("EVAL", script.text, len(keys), *keys, *args)


class _Command(Protocol):
    def __call__(self, *args: str | int) -> Awaitable[object]: ...


_SEED_TIMEOUT_S = 5.0
_TO_BE_SEEDED = -2
_RESULTS = {Health.BAD: 1, Health.GOOD: 0, Health.NEUTRAL: -1}
_CHANGES: dict[object, BreakerChange] = {1: BreakerChange.OPENED, 2: BreakerChange.CLOSED}


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
