"""Orders through the whole system: how long they take, how many a second, and how a stop-loss passes a backlog.

PostgreSQL is durable, the client runs on the same cores, and the witness of what arrived when is the exchange's ledger.
"""

import os
import statistics
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime

import psutil
import uvloop

from app.core.orders import Urgency
from tests.bench.order_client import OrderClient
from tests.bench.order_load import OrderLoad, save_backlog
from tests.harness.system import AccountSpec, LoggedInAccount, System, running_system

BUDGET_PER_S = 10_000
ACCOUNTS = 4
WORKERS = 2
WARM_UP_ORDERS = 200
PACE_PER_S = 50.0
PACED_S = 20.0
SATURATED_S = 20.0
BACKLOG = 10_000
PROBES = 60
PROBES_PER_S = 8.0
"""Slow enough that probes do not queue behind each other, quick enough to end long before the backlog does."""

DRAIN_TIMEOUT_S = 240.0

_FILLED = "SELECT o.tag, max(f.recorded_at) FROM orders o JOIN fills f ON f.order_id = o.id GROUP BY o.tag"
_WAITING = "SELECT count(*) FROM order_commands WHERE state IN ('PENDING', 'SUBMITTING')"
_DRAIN = """
SELECT count(*) AS placed, extract(epoch FROM max(acknowledged_at) - min(claimed_at)) AS seconds
FROM orders WHERE caller = 'user:bench' AND account_id = ANY($1) AND acknowledged_at IS NOT NULL AND saved_at >= $2
"""


def run() -> dict[str, float]:
    """Run the whole suite and return its figures: milliseconds, and orders a second."""
    return uvloop.run(_suite())


async def _suite() -> dict[str, float]:
    async with running_system(durable=True) as system, AsyncExitStack() as stack:
        for role in ("keeper", "feed", "api"):
            system.spawn(role)
        system.spawn("worker", WORKERS)
        token = await system.token()
        paper = await system.add_accounts([_spec(f"bench-{n}") for n in range(ACCOUNTS)])
        null = await system.add_accounts([_spec(f"null-{n}", broker="null") for n in range(ACCOUNTS)])
        client = OrderClient(system.api_url, token)
        stack.push_async_callback(client.close)
        bench = _Bench(system, client, paper)
        await bench.warm_up()
        figures = await bench.paced()
        _say(str(figures))
        figures["priority_p99_ms_idle"] = await bench.priority()
        figures |= await bench.saturated()
        _say(str(figures))
        bench.say_memory()
        figures["drain_2w_null_per_s"] = await bench.drain(null)
        figures["drain_2w_per_s"] = await bench.drain(paper)
        figures["priority_p99_ms_under_10k_backlog"] = await bench.priority_under_backlog()
        bench.say_memory()
        return figures


class _Bench:
    """The measurements, one method each; between them nothing waits anywhere."""

    def __init__(self, system: System, client: OrderClient, accounts: Sequence[LoggedInAccount]) -> None:
        self._system = system
        self._client = client
        self._accounts = accounts

    async def warm_up(self) -> None:
        """Let pools, caches and plans fill."""
        await OrderLoad(self._client, self._accounts).paced(per_second=100, for_s=WARM_UP_ORDERS / 100)
        await self._until_quiet()

    async def paced(self) -> dict[str, float]:
        """Measure at a moderate rate: from the start of the POST to the exchange, and to the recorded fill."""
        load = OrderLoad(self._client, self._accounts)
        await load.paced(per_second=PACE_PER_S, for_s=PACED_S)
        await self._until_quiet()
        to_broker = _waits_ms(load, await self._arrivals())
        to_filled = _waits_ms(load, dict(await self._system.database.fetch(_FILLED)))
        return {
            "post_to_broker_p50_ms": _percentile(to_broker, 50),
            "post_to_broker_p99_ms": _percentile(to_broker, 99),
            "post_to_filled_p50_ms": _percentile(to_filled, 50),
            "post_to_filled_p99_ms": _percentile(to_filled, 99),
        }

    async def priority(self) -> float:
        """Measure how long stop-loss orders take to reach the exchange, as the system stands."""
        load = OrderLoad(self._client, self._accounts)
        await load.paced(per_second=PROBES_PER_S, for_s=PROBES / PROBES_PER_S, urgency=Urgency.STOP_LOSS)
        left = await self._system.database.fetchval(_WAITING)
        await self._until_quiet()
        waits = _waits_ms(load, await self._arrivals())
        _say(f"{len(waits)} stop-loss orders: median {statistics.median(waits):.1f} ms; {left} orders still wait")
        return _percentile(waits, 99)

    async def saturated(self) -> dict[str, float]:
        """Measure how many orders a second are accepted, and filled and recorded, while all connections are busy."""
        await self._system.exchange.print_price()
        database = self._system.database
        load = OrderLoad(self._client, self._accounts)
        before, began = await database.fetchrow("SELECT count(*), clock_timestamp() FROM fills")
        await load.saturating(for_s=SATURATED_S)
        after, ended = await database.fetchrow("SELECT count(*), clock_timestamp() FROM fills")
        seconds = (ended - began).total_seconds()
        await self._until_quiet()
        return {
            "http_accepted_per_s": round(len(load.posted) / seconds, 1),
            "http_filled_per_s": round((after - before) / seconds, 1),
        }

    async def drain(self, accounts: Sequence[LoggedInAccount]) -> float:
        """Measure two workers on a saved backlog, from the first claim to the last acknowledgement."""
        since = await self._save(accounts)
        self._system.spawn("worker", WORKERS)
        await self._until_quiet()
        ids = [account.id for account in accounts]
        row = await self._system.database.fetchrow(_DRAIN, ids, since)
        if row["placed"] != BACKLOG:
            raise RuntimeError(f"{row['placed']} of {BACKLOG} orders were placed\n{self._system.last_words()}")
        rate = BACKLOG / float(row["seconds"])
        _say(f"drained {BACKLOG} at {rate:.0f}/s")
        return round(rate, 1)

    async def priority_under_backlog(self) -> float:
        """Measure stop-loss orders that are posted while a backlog of ordinary ones is worked off."""
        await self._save(self._accounts)
        self._system.spawn("worker", WORKERS)

        async def draining() -> bool:
            return bool(await self._system.database.fetchval(_WAITING) < BACKLOG - 100)

        await self._system.until(draining, what="the backlog is being worked off")
        return await self.priority()

    def say_memory(self) -> None:
        """Tell how much memory each process of the API and of the workers holds."""
        for role in ("api", "worker"):
            held = [psutil.Process(one.pid).memory_info().rss / 1e6 for one in self._system.roles(role)]
            _say(f"{role}: {', '.join(f'{rss:.0f}' for rss in held)} MB resident")

    async def _save(self, accounts: Sequence[LoggedInAccount]) -> datetime:
        self._system.end_role("worker")
        await self._system.exchange.print_price()
        since: datetime = await self._system.database.fetchval("SELECT clock_timestamp()")
        await save_backlog(self._system, accounts, BACKLOG)
        _say(f"saved {BACKLOG} orders")
        return since

    async def _until_quiet(self) -> None:
        """Wait until no command waits and every fill that the exchange made is in our books."""

        async def quiet() -> bool:
            if await self._system.database.fetchval(_WAITING):
                return False
            fills = await self._system.database.fetchval("SELECT count(*) FROM fills")
            return bool(fills == await self._system.exchange.trades([one.client_code for one in self._accounts]))

        await self._system.until(quiet, what="no order waits and every fill is recorded", timeout_s=DRAIN_TIMEOUT_S)

    async def _arrivals(self) -> dict[str, datetime]:
        ledgers = [await self._system.exchange.ledger(account.client_code) for account in self._accounts]
        return {order.tag: order.received_at for orders in ledgers for order in orders}


def _spec(name: str, *, broker: str = "angelone") -> AccountSpec:
    return AccountSpec(name=name, orders_per_second=BUDGET_PER_S, broker=broker)


def _waits_ms(load: OrderLoad, ends: dict[str, datetime]) -> list[float]:
    return sorted((ends[tag] - started).total_seconds() * 1000 for tag, started in load.posted.items())


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return round(ordered[max(0, -(-len(ordered) * percent // 100) - 1)], 2)


def _say(text: str) -> None:
    print(f"{text} (load {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)  # noqa: T201
