"""`python -m tests.chaos --orders N --seed S --json`: one run; exit code 1 when an invariant is violated."""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Coroutine

from tests.chaos.havoc import say
from tests.chaos.rate import run_rate
from tests.chaos.run import Outcome, run_chaos

SUITES = ("orders", "rate")
TAG_MODES = ("book", "details", "none")

_EPILOG = """
Starts PostgreSQL, Redis, the paper exchange and all roles in a temporary folder; orders, changes and cancels while
processes are killed and frozen, servers are wiped, paused and restarted and the exchange lies; waits until everything
is settled; and compares every order, trade and rupee with the exchange's own ledger. Progress goes to stderr. The exit
code is 1 when an invariant was violated: the offending orders are printed, and the logs are kept.
What is broken, what is compared and what each figure means: docs/chaos.md
"""


def main() -> int:
    """Run once and print the figures."""
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        description="Orders under kill -9, frozen processes, wiped queues and a lying exchange.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--suite", choices=SUITES, default="orders", help="what is put to the test (default orders)")
    parser.add_argument("--orders", type=int, default=500, help="how many orders are submitted (default 500)")
    parser.add_argument("--seed", type=int, default=1, help="what is ordered and broken when (default 1)")
    parser.add_argument(
        "--tag-mode", choices=TAG_MODES, default="book", help="where the exchange gives order tags back (default book)"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    options = parser.parse_args()
    if options.orders < 1:
        parser.error("--orders must be positive")
    if options.suite == "rate":
        run = run_rate(options.orders)
    else:
        run = run_chaos(options.orders, seed=options.seed, tag_mode=options.tag_mode, settings={})
    outcome = asyncio.run(_interruptible(run))
    for finding in outcome.findings:
        say(finding)
    if options.json:
        print(json.dumps(outcome.figures))  # noqa: T201
    else:
        for name, value in outcome.figures.items():
            print(f"{name:<24} {value!s:>10}")  # noqa: T201
    return 0 if outcome.clean else 1


async def _interruptible(run: Coroutine[None, None, Outcome]) -> Outcome:
    """Run so that SIGTERM, like Ctrl-C, still ends every process that was started."""
    task = asyncio.ensure_future(run)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


if __name__ == "__main__":
    sys.exit(main())
