"""Runs one suite by its name: the module `tests.bench.SUITE`, whose `run()` returns the figures."""

import argparse
import importlib
import json

SUITES = ("queue", "orders")


def main() -> None:
    """Run the suite that the command line names; progress goes to stderr, the figures to stdout."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure, and print figures.")
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    options = parser.parse_args()
    figures: dict[str, float] = importlib.import_module(f"tests.bench.{options.suite}").run()
    if options.json:
        print(json.dumps(figures))  # noqa: T201
    else:
        for name, value in figures.items():
            print(f"{name:<40} {value:>12}")  # noqa: T201


if __name__ == "__main__":
    main()
