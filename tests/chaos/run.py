"""One run: start everything, order while all is breaking, let it settle, and judge."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.core.orders import OrderStatus
from tests.chaos.clients import Clients
from tests.chaos.havoc import Havoc, Plan, say
from tests.chaos.intents import make_intents
from tests.chaos.verdict import Evidence, OurOrder, Verdict, judge
from tests.harness.paper_control import FIRST_PRICE, Fault
from tests.harness.system import AccountSpec, LoggedInAccount, NotInTimeError, System, running_system

ACCOUNTS = tuple(AccountSpec(name=f"chaos-{number}", orders_per_second=200) for number in range(1, 4))
WORKERS = 3
WORKER_LEASE_S = 5.0
STOP_MARGIN_S = 0.5
PRICE_EVERY_S = 0.3
TICK = Decimal("0.05")
WALK_TICKS_MAX = 20
SMALL_VOLUME = 60
"""Units in a small print, of which our orders get a quarter: larger ones fill in parts."""

SETTLE_S = 90.0
BOOKS_SETTLE_S = 30.0
SETTLE_POLL_S = 0.5

FAULTS = (
    Fault("drop_after_accept", 0.03),
    Fault("timeout_after_accept", 0.01, delay_ms=20_000),
    Fault("drop_before_accept", 0.02),
    Fault("http_5xx", 0.02),
    Fault("throttle_403", 0.03),
    Fault("token_expired", 0.005),
    Fault("malformed_body", 0.02),
    Fault("latency", 0.05, delay_ms=40),
    Fault("drop_update", 0.05, ops=("socket",)),
    Fault("duplicate_update", 0.05, ops=("socket",)),
)

_OURS = """
SELECT o.tag, a.name AS account, o.status, o.status_reason, o.filled_quantity,
  coalesce((SELECT sum(f.quantity) FROM fills f WHERE f.order_id = o.id), 0)::bigint AS counted
FROM orders o JOIN broker_accounts a ON a.id = o.account_id
"""
_POSITIONS = """
SELECT a.name, sum(p.quantity)::bigint AS net FROM positions p JOIN broker_accounts a ON a.id = p.account_id
GROUP BY a.name
"""
_UNDECIDED = "SELECT count(*) FROM order_commands WHERE state IN ('PENDING', 'SUBMITTING')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The figures of a run, and what was found wrong."""

    figures: dict[str, int | float]
    findings: Sequence[str]
    clean: bool


def make_plan(orders: int, config_stop_s: float) -> Plan:
    """Return how much is broken during so many orders: ten kills, three freezes and a wipe at the very least."""
    return Plan(
        kills=max(11, orders // 30),
        stops=max(3, orders // 125),
        wipes=max(2, orders // 250),
        redis_restarts=1,
        stop_s=config_stop_s,
    )


async def run_chaos(orders: int, *, seed: int, settings: Mapping[str, str]) -> Outcome:
    """Run once; raises `NotInTimeError` or `ContractBrokenError` where the run itself cannot be completed."""
    started = time.monotonic()
    async with running_system(settings=settings) as system:
        accounts, token = await _start(system)
        config = system.config
        stop_s = config.send_window_s + config.claim_margin_s + WORKER_LEASE_S + STOP_MARGIN_S
        plan = make_plan(orders, stop_s)
        havoc = Havoc(system, plan, seed=seed)
        clients = Clients(system.api_url, token, seed=seed)
        intents = make_intents(orders, seed=seed, accounts=[account.name for account in accounts])
        await system.exchange.set_faults(FAULTS, seed=seed)
        say(f"ready after {time.monotonic() - started:.1f} s; {orders} orders over {plan.lasts_s:.0f} s")
        prices = asyncio.create_task(_walk_prices(system, seed=seed))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(clients.submit(intents, over_s=plan.lasts_s))
                group.create_task(havoc.wreak())
        finally:
            prices.cancel()
            await asyncio.wait([prices])
        say(f"all answered after {time.monotonic() - started:.1f} s, {clients.repeats} requests repeated; settling")
        fired = await system.exchange.faults_fired()
        await system.exchange.set_faults(())
        await _settle(system)
        accepted = [answer.tag for answer in clients.answers if answer.tag is not None]
        verdict = await _judge_when_quiet(system, accepted, accounts)
        crashed = [f"crashed: {one.role} ended by itself\n{one.log_tail()}" for one in system.ended_by_themselves()]
        if verdict.findings or crashed:
            say(system.last_words())
    say(f"faults fired: {fired}")
    figures: dict[str, int | float] = {
        "intents": len(clients.answers),
        "accepted": len(accepted),
        "broker_orders": verdict.broker_orders,
        "lost": verdict.lost,
        "duplicates": verdict.duplicates,
        "stuck": verdict.stuck,
        "unknown": verdict.unknown,
        "kills": havoc.kills,
        "stops": havoc.stops,
        "redis_wipes": havoc.wipes,
        "duration_s": round(time.monotonic() - started, 1),
        "position_mismatch": verdict.position_mismatch,
        "strangers": verdict.strangers,
        "crashed": len(crashed),
        "stops_before_send": havoc.stops_before_send,
        "redis_restarts": havoc.redis_restarts,
        "repeated_requests": clients.repeats,
        "faults_fired": sum(fired.values()),
        "orders": orders,
        "seed": seed,
    }
    return Outcome(figures=figures, findings=[*verdict.findings, *crashed], clean=verdict.clean and not crashed)


async def _start(system: System) -> tuple[list[LoggedInAccount], str]:
    system.spawn("keeper")
    system.spawn("feed")
    system.spawn("api")
    system.spawn("worker", WORKERS)
    token = await system.token()
    return await system.add_accounts(ACCOUNTS), token


async def _walk_prices(system: System, *, seed: int) -> None:
    """Let the price wander, so that resting orders trigger and fill; small prints fill them in parts."""
    chance = random.Random(seed)
    ticks = 0
    while True:
        await asyncio.sleep(PRICE_EVERY_S)
        ticks = max(-WALK_TICKS_MAX, min(WALK_TICKS_MAX, ticks + chance.randint(-4, 4)))
        volume = chance.choice((None, SMALL_VOLUME))
        await system.exchange.print_price(FIRST_PRICE + ticks * TICK, volume=volume)


async def _settle(system: System) -> None:
    async def decided() -> bool:
        return bool(await system.database.fetchval(_UNDECIDED) == 0)

    try:
        await system.until(decided, what="every command is decided", timeout_s=SETTLE_S)
    except NotInTimeError as error:
        say(str(error))  # the verdict counts what is stuck


async def _judge_when_quiet(system: System, accepted: Sequence[str], accounts: Sequence[LoggedInAccount]) -> Verdict:
    """Judge again while fills may still be on their way into our books."""
    give_up = time.monotonic() + BOOKS_SETTLE_S
    while True:
        verdict = judge(await _evidence(system, accepted, accounts))
        if verdict.clean or time.monotonic() > give_up:
            return verdict
        await asyncio.sleep(SETTLE_POLL_S)


async def _evidence(system: System, accepted: Sequence[str], accounts: Sequence[LoggedInAccount]) -> Evidence:
    ours = [
        OurOrder(
            tag=row["tag"],
            account=row["account"],
            status=OrderStatus(row["status"]),
            reason=row["status_reason"],
            filled=row["filled_quantity"],
            counted=row["counted"],
        )
        for row in await system.database.fetch(_OURS)
    ]
    return Evidence(
        accepted=accepted,
        ours=ours,
        ledger={account.name: await system.exchange.ledger(account.client_code) for account in accounts},
        positions={row["name"]: row["net"] for row in await system.database.fetch(_POSITIONS)},
    )
