"""One run: start everything, order while all is breaking, let it settle, and judge."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import httpx

from tests.chaos.clients import Clients
from tests.chaos.collect import collect, open_commands
from tests.chaos.evidence import Evidence
from tests.chaos.exchange_faults import FAULTS, ExchangeFaults
from tests.chaos.havoc import Havoc, say
from tests.chaos.history import Histories, inconsistencies, read_histories
from tests.chaos.intents import INSTRUMENTS, Traded, make_intents
from tests.chaos.plan import Armoury, make_plan
from tests.chaos.recovery import Recoveries, p99, recoveries
from tests.chaos.verdict import Verdict, judge
from tests.harness.paper_control import PaperControl
from tests.harness.supervisor import Harm, Supervisor
from tests.harness.system import AccountSpec, LoggedInAccount, System, running_system

ACCOUNTS = tuple(AccountSpec(name=f"chaos-{number}", orders_per_second=200) for number in range(1, 5))
WORKERS = 3
KEEPERS = 2
WORKER_LEASE_S = 5.0
STOP_MARGIN_S = 0.5
SHORT_STOP_S = 2.0
PRICE_EVERY_S = 0.4
WALK_TICKS_MAX = 20
SMALL_VOLUME = 60
"""Units in a small print, of which our orders get a quarter: larger ones fill in parts."""

SETTLE_S = 120.0
SETTLE_POLL_S = 1.0
TIMELINES_MAX = 20

Figure = int | float | str | list[int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The figures of a run, and what was found wrong."""

    figures: dict[str, Figure]
    findings: Sequence[str]

    @property
    def clean(self) -> bool:
        """Whether every invariant held."""
        return not self.findings


class Run:
    """A system, what is done to it, and what came out."""

    def __init__(self, system: System, *, orders: int, seed: int, tag_mode: str) -> None:
        self._system = system
        self._seed = seed
        self._tag_mode = tag_mode
        config = system.config
        long_stop_s = config.send_window_s + config.claim_margin_s + WORKER_LEASE_S + STOP_MARGIN_S
        self._plan = make_plan(orders, long_stop_s=long_stop_s)
        self._armoury = Armoury(seed=seed)
        self.supervisor = Supervisor(
            system,
            arm=self._armoury.environment,
            freeze_for=lambda role: long_stop_s if role == "worker" else SHORT_STOP_S,
        )
        self.faults = ExchangeFaults(system.exchange, seed=seed)
        self.havoc = Havoc(system, self.supervisor, self.faults, self._plan, tag_mode=tag_mode, seed=seed)
        self.settle_s = 0.0
        self.accounts: list[LoggedInAccount] = []

    async def start(self) -> str:
        """Start the roles, log the accounts in, and return a token of the API."""
        system = self._system
        await system.exchange.set_tag_echo(self._tag_mode)
        for traded in INSTRUMENTS:
            await system.exchange.print_price(traded.price, token=traded.token)
        system.spawn("keeper", KEEPERS)
        for role in ("feed", "scheduler", "api"):
            system.spawn(role)
        system.spawn("worker", WORKERS)
        token = await system.token()
        self.accounts = await system.add_accounts(ACCOUNTS)
        return token

    async def trade(self, clients: Clients, orders: int) -> None:
        """Order while everything is being broken; everything is whole and runs without fail points afterwards."""
        intents = make_intents(orders, seed=self._seed, accounts=[account.name for account in self.accounts])
        say(f"{orders} orders over {self._plan.lasts_s:.0f} s, {self._plan.actions} things to break")
        await self.faults.apply(FAULTS)
        prices = [asyncio.create_task(walk_price(self._system.exchange, one, seed=self._seed)) for one in INSTRUMENTS]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(clients.submit(intents, over_s=self._plan.lasts_s))
                group.create_task(self.havoc.wreak())
            await self._make_whole()
        finally:
            for task in prices:
                task.cancel()
            await asyncio.wait(prices)

    async def settle(self, clients: Clients) -> tuple[Evidence, Verdict]:
        """Wait until everything is decided and both ledgers agree, or the time is over; return what is so then."""
        started = time.monotonic()
        while True:
            late = time.monotonic() - started > SETTLE_S
            commands = await open_commands(self._system)
            if late or (not commands.undecided and (not commands.unknown or self._tag_mode == "none")):
                evidence = await collect(self._system, clients, self.accounts, tag_mode=self._tag_mode)
                verdict = judge(evidence)
                if late or verdict.clean:
                    self.settle_s = time.monotonic() - started
                    say(f"settled after {self.settle_s:.1f} s: {commands}")
                    return evidence, verdict
            await asyncio.sleep(SETTLE_POLL_S)

    async def _make_whole(self) -> None:
        self._armoury.lay_down()
        await self.faults.apply(())
        await self._system.exchange.shift_clock(0)
        armed = [process for process in self._system.processes() if process.extra]
        async with asyncio.TaskGroup() as group:
            for process in armed:
                group.create_task(self.supervisor.replace(process))


async def run_chaos(orders: int, *, seed: int, tag_mode: str = "book", settings: Mapping[str, str]) -> Outcome:
    """Run once; raises `NotInTimeError` or `ContractBrokenError` where the run itself cannot be completed."""
    started = time.monotonic()
    # Durable, for a commit that was answered must outlive the restarts of PostgreSQL.
    async with running_system(durable=True, settings=settings) as system:
        run = Run(system, orders=orders, seed=seed, tag_mode=tag_mode)
        try:
            clients = Clients(system.api_url, await run.start(), seed=seed)
            async with run.supervisor.watching():
                await run.trade(clients, orders)
                say(f"all is answered and whole; requests were repeated for {dict(clients.repeats)}; settling")
                evidence, verdict = await run.settle(clients)
            histories = await read_histories(system)
            findings = [*verdict.findings, *await inconsistencies(system, histories)]
            findings += [f"crashed: {crash}" for crash in run.supervisor.crashes]
            findings += timelines(evidence, histories, verdict.offenders)
        except BaseException:
            system.keep_logs = True
            say(f"the logs are kept in {system.folder}")
            raise
        if findings:
            system.keep_logs = True
            findings.append(f"the logs are kept in {system.folder}")
        recovered = recoveries(histories, run.supervisor.incidents)
        for slowest_s, order_id in recovered.slowest.values():
            told = "\n".join(f"  {happened}" for happened in histories[order_id])
            say(f"the slowest recovery, {slowest_s:.1f} s:\n{told}")
    figures = _figures(run, clients, verdict, recovered)
    head: dict[str, Figure] = {"suite": "orders", "orders": orders, "seed": seed, "tag_mode": tag_mode}
    return Outcome(
        figures=head | figures | {"duration_s": round(time.monotonic() - started, 1)},
        findings=findings,
    )


def _figures(run: Run, clients: Clients, verdict: Verdict, recovered: Recoveries) -> dict[str, Figure]:
    accepted = sum(answer.tag is not None for answer in clients.answers)
    return {
        "intents": len(clients.answers),
        "accepted": accepted,
        "refused": len(clients.answers) - accepted,
        "cancels": sum(change.is_cancel for change in clients.changes),
        "cancels_taken": sum(change.is_cancel and change.taken for change in clients.changes),
        "modifies": sum(not change.is_cancel for change in clients.changes),
        "modifies_taken": sum(not change.is_cancel and change.taken for change in clients.changes),
        "broker_orders": verdict.broker_orders,
        "lost": verdict.lost,
        "duplicates": verdict.duplicates,
        "stuck": verdict.stuck,
        "unknown": verdict.unknown,
        "unsettleable": verdict.unsettleable,
        "position_mismatch": verdict.position_mismatch,
        "cash_mismatch": f"{verdict.cash_mismatch.normalize():f}",
        "terms_mismatch": verdict.terms_mismatch,
        "contradictions": verdict.contradictions,
        "strangers": verdict.strangers,
        "crashed": len(run.supervisor.crashes),
        "kills": run.supervisor.count(Harm.KILL),
        "stops": run.supervisor.count(Harm.STOP),
        "fail_points": sum(incident.by_itself for incident in run.supervisor.incidents),
        "redis_wipes": run.havoc.wipes,
        "pg_restarts": run.havoc.pg_restarts,
        "exchange_restarts": run.havoc.exchange_restarts,
        "faults_fired": run.faults.fired.total(),
        "repeated_requests": clients.repeats.total(),
        "recovery_found_p99_s": p99(recovered.found),
        "recovery_found_count": len(recovered.found),
        "recovery_found_max_s": max(recovered.found, default=None),
        "recovery_absent_p99_s": p99(recovered.absent),
        "recovery_absent_count": len(recovered.absent),
        "recovery_absent_max_s": max(recovered.absent, default=None),
        "recovery_never": recovered.never,
        "settle_s": round(run.settle_s, 1),
    }


async def walk_price(exchange: PaperControl, traded: Traded, *, seed: int) -> None:
    """Let a price wander, so that resting orders trigger and fill; small prints fill them in parts."""
    chance = random.Random(f"{seed}:{traded.token}")
    ticks = 0
    while True:
        await asyncio.sleep(PRICE_EVERY_S)
        ticks = max(-WALK_TICKS_MAX, min(WALK_TICKS_MAX, ticks + chance.randint(-4, 4)))
        volume = chance.choice((None, SMALL_VOLUME))
        with suppress(httpx.HTTPError):  # the exchange is being killed too
            await exchange.print_price(traded.price + ticks * traded.tick, volume=volume, token=traded.token)


def timelines(evidence: Evidence, histories: Histories, tags: set[str]) -> list[str]:
    """Return what happened to the orders of these tags, and the exchange's rows of them."""
    found: list[str] = []
    for order in evidence.ours:
        if order.tag in tags and len(found) < TIMELINES_MAX:
            lines = [f"timeline of {order.tag}:", *(f"  {happened}" for happened in histories.get(order.id, ()))]
            lines += [f"  at the exchange: {row}" for row in evidence.ledger if row.tag == order.tag]
            found.append("\n".join(lines))
    return found
