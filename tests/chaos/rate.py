"""The rate suite: a burst for one account over two segments, while eight workers share one budget and Redis is wiped.

The account has the broker's own limits. Its ledger at the exchange tells how many orders arrived in each second of
the exchange's clock, which is set off ours by 20 ms at first and by 400 ms later.
"""

import asyncio
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import httpx
import redis

from tests.chaos.havoc import say
from tests.chaos.run import Figure, Outcome
from tests.harness.system import AccountSpec, LoggedInAccount, System, running_system

WORKERS = 8
OFFSETS_MS = (20, 400)
CLIENT_CODE_MAX, SEGMENT_MAX = 9, 10
EXIT_SHARE = 0.1
EXIT_NOTICE_S = 1.0
"""An exit must have been asked for before ordinary orders can give way to it."""

WIPE_AT, SHIFT_AT, EXITS_AT = 0.25, 0.45, 0.55
"""What happens when this share of the ordinary orders has reached the exchange."""

CLIENTS = 20
SECONDS_AN_ORDER = 0.5
"""Twice what the budget of ordinary orders needs."""

SLACK_S = 60.0
TRADED = (("NSE:YESBANK", "11915", Decimal("182.65")), ("BSE:SBIN", "500112", Decimal("310.00")))
FAR_BELOW = Decimal("20.00")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An order at the exchange, at the exchange's own time."""

    tag: str
    segment: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """An order of ours, as it ended."""

    tag: str
    status: str
    is_exit: bool
    saved_at: datetime


class RateRun:
    """One burst."""

    def __init__(self, system: System, account: LoggedInAccount, api: httpx.AsyncClient, *, orders: int) -> None:
        self._system = system
        self._account = account
        self._api = api
        self._exits = max(1, round(orders * EXIT_SHARE))
        self._ordinary = orders - self._exits
        self._give_up_at = time.monotonic() + SLACK_S + orders * SECONDS_AN_ORDER

    async def buy_something_to_sell(self) -> None:
        """Hold a position for the exits to reduce."""
        await self._place("position", {"side": "BUY", "order_type": "MARKET", "quantity": 10 * self._exits})
        query = "SELECT count(*) FROM fills WHERE account_id = $1"
        await self._until(lambda: self._count(query, at_least=1), "a position is bought")

    async def burst(self) -> None:
        """Place the ordinary orders at once, and do to the servers and the clock what is to be done on the way."""
        await self._system.exchange.shift_clock(OFFSETS_MS[0])
        started = time.monotonic()
        await self._place_all([(f"ordinary-{number}", self._entry(number)) for number in range(self._ordinary)])
        say(f"{self._ordinary} orders taken in {time.monotonic() - started:.1f} s")
        await self._arrived(WIPE_AT)
        redis.Redis.from_url(self._system.redis.url).flushall()
        say("Redis wiped")
        await self._arrived(SHIFT_AT)
        await self._system.exchange.shift_clock(OFFSETS_MS[1])
        await self._arrived(EXITS_AT)
        exit_order = {"side": "SELL", "order_type": "MARKET", "quantity": 1, "purpose": "EXIT"}
        await self._place_all([(f"exit-{number}", exit_order) for number in range(self._exits)])
        say(f"{self._exits} exits taken")
        query = """SELECT count(*) FROM orders WHERE account_id = $1
        AND status NOT IN ('PENDING', 'SUBMITTING', 'UNKNOWN')"""
        await self._until(lambda: self._count(query, at_least=self._ordinary + self._exits + 1), "nothing waits")

    async def arrivals(self) -> list[Arrival]:
        """Return what reached the exchange, in its order."""
        rows = (await self._system.exchange.testimony(self._account.client_code))["orders"]
        found = [
            Arrival(tag=row["tag"], segment=row["exchange"], at=datetime.fromisoformat(row["received_at"]))
            for row in rows
        ]
        return sorted(found, key=lambda arrival: arrival.at)

    async def saved(self) -> list[Saved]:
        """Return our own orders."""
        rows = await self._system.database.fetch(
            "SELECT tag, status, purpose, saved_at FROM orders WHERE account_id = $1", self._account.id
        )
        return [
            Saved(tag=row["tag"], status=row["status"], is_exit=row["purpose"] == "EXIT", saved_at=row["saved_at"])
            for row in rows
        ]

    @staticmethod
    def _entry(number: int) -> Mapping[str, str | int]:
        instrument, _, price = TRADED[number % len(TRADED)]
        terms = {"side": "BUY", "order_type": "LIMIT", "quantity": 1, "price": str(price - FAR_BELOW)}
        return {**terms, "instrument": instrument}

    async def _place_all(self, orders: Sequence[tuple[str, Mapping[str, str | int]]]) -> None:
        waiting = iter(orders)

        async def client() -> None:
            for key, terms in waiting:
                await self._place(key, terms)

        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(client())

    async def _place(self, key: str, terms: Mapping[str, str | int]) -> None:
        body = {"account": self._account.name, "instrument": TRADED[0][0], "product": "MIS", **terms}
        answer = await self._api.post("/api/v1/orders", json=body, headers={"Idempotency-Key": key})
        if answer.status_code != httpx.codes.ACCEPTED:
            raise RuntimeError(f"{key}: {answer.text}")

    async def _arrived(self, share: float) -> None:
        query = "SELECT count(*) FROM orders WHERE account_id = $1 AND purpose = 'ENTRY' AND status <> 'PENDING'"
        wanted = 1 + int(share * self._ordinary)
        await self._until(lambda: self._count(query, at_least=wanted), f"{wanted} orders are on their way")

    async def _count(self, query: str, *, at_least: int) -> bool:
        return bool(await self._system.database.fetchval(query, self._account.id) >= at_least)

    async def _until(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        await self._system.until(condition, what=what, timeout_s=max(1.0, self._give_up_at - time.monotonic()))


def per_second_max(arrivals: Sequence[Arrival], *, shift_ms: int = 0) -> int:
    """Return how many arrived in the busiest calendar second of a clock that is off the exchange's by so much."""
    shift = timedelta(milliseconds=shift_ms)
    return max(Counter(int((arrival.at + shift).timestamp()) for arrival in arrivals).values(), default=0)


def per_rolling_second_max(arrivals: Sequence[Arrival]) -> int:
    """Return how many arrived within the busiest second, wherever it begins."""
    times = [arrival.at.timestamp() for arrival in arrivals]
    return max((bisect_left(times, at + 1.0) - first for first, at in enumerate(times)), default=0)


def exits_went_first(arrivals: Sequence[Arrival], saved: Sequence[Saved], *, offset_ms: int) -> bool:
    """Whether no ordinary order reached the exchange while an exit waited that had been there for a moment."""
    exits = {order.tag: order.saved_at for order in saved if order.is_exit}
    ours = [(arrival.tag, arrival.at - timedelta(milliseconds=offset_ms)) for arrival in arrivals]
    last_saved, last_sent = max(exits.values()), max(at for tag, at in ours if tag in exits)
    begin = last_saved + timedelta(seconds=EXIT_NOTICE_S)
    return not any(begin < at < last_sent for tag, at in ours if tag not in exits)


async def run_rate(orders: int, *, settings: Mapping[str, str] | None = None) -> Outcome:
    """Start everything, burst, and judge by the exchange's ledger."""
    started = time.monotonic()
    async with running_system(settings=settings) as system:
        for instrument, token, price in TRADED:
            await system.exchange.print_price(price, token=token, exchange=instrument.partition(":")[0])
        for role in ("keeper", "feed", "api"):
            system.spawn(role)
        system.spawn("worker", WORKERS)
        (account,) = await system.add_accounts([AccountSpec(name="rate", orders_per_second=CLIENT_CODE_MAX)])
        async with httpx.AsyncClient(
            base_url=system.api_url,
            headers={"Authorization": f"Bearer {await system.token()}"},
            timeout=30.0,
            trust_env=False,
        ) as api:
            run = RateRun(system, account, api, orders=orders)
            await run.buy_something_to_sell()
            await run.burst()
        arrivals, saved = await run.arrivals(), await run.saved()
        witnessed = (await system.exchange.testimony(account.client_code))["summary"]
    return _judge(arrivals, saved, witnessed, orders=orders, duration_s=time.monotonic() - started)


def _judge(
    arrivals: Sequence[Arrival],
    saved: Sequence[Saved],
    witnessed: Mapping[str, object],
    *,
    orders: int,
    duration_s: float,
) -> Outcome:
    segments = {arrival.segment for arrival in arrivals}
    seen = Counter(arrival.tag for arrival in arrivals)
    failed = [order for order in saved if order.status not in ("PLACED", "PARTIALLY_FILLED", "COMPLETE")]
    figures: dict[str, Figure] = {
        "suite": "rate",
        "orders": orders,
        "workers": WORKERS,
        "offsets_ms": list(OFFSETS_MS),
        "segments": ", ".join(sorted(segments)),
        "max_per_calendar_second": max(
            int(str(witnessed["max_per_calendar_second"])),
            *(per_second_max(arrivals, shift_ms=shift) for shift in (0, *OFFSETS_MS)),
        ),
        "max_per_segment_second": max(
            int(str(witnessed["max_per_segment_second"])),
            *(per_second_max([a for a in arrivals if a.segment == segment]) for segment in segments),
        ),
        "max_per_rolling_second": per_rolling_second_max(arrivals),
        "exits_first": exits_went_first(arrivals, saved, offset_ms=OFFSETS_MS[-1]),
        "delayed_not_failed": not failed and len(saved) == orders + 1,
        "duplicates": sum(count - 1 for count in seen.values()),
        "lost": sum(order.tag not in seen for order in saved),
        "sent_over_s": round((arrivals[-1].at - arrivals[0].at).total_seconds(), 1),
        "duration_s": round(duration_s, 1),
    }
    findings = [f"{order.tag} ended {order.status}" for order in failed]
    if int(str(figures["max_per_calendar_second"])) > CLIENT_CODE_MAX:
        findings.append("too many orders of the client code in a second of the exchange")
    if int(str(figures["max_per_segment_second"])) > SEGMENT_MAX:
        findings.append("too many orders of a segment in a second of the exchange")
    if not figures["exits_first"]:
        findings.append("an ordinary order was sent while exits waited")
    if figures["duplicates"] or figures["lost"] or not figures["delayed_not_failed"]:
        findings.append("an order was lost, doubled or failed")
    return Outcome(figures=figures, findings=findings)
