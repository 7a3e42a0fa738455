"""Runs the paper exchange by itself: `python -m app.exchange --help`."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

import uvloop

from app.core.errors import SaudaError
from app.exchange.instruments import read_instruments
from app.exchange.server import serve
from app.exchange.settings import ExchangeSettings


def main() -> int:
    """Serve until SIGINT or SIGTERM; return the exit code."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = ExchangeSettings(
            host=arguments.host,
            port=arguments.port,
            control_key=os.environ.get(arguments.control_key_env, ""),
            ledger_path=arguments.ledger,
            instruments=read_instruments(arguments.instruments),
        )
        uvloop.run(_serve_until_signal(settings))
    except (SaudaError, OSError) as error:
        sys.stderr.write(f"paper exchange: {error}\n")
        return 1
    return 0


async def _serve_until_signal(settings: ExchangeSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, stop)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app.exchange", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8010)
    parser.add_argument("--ledger", type=Path, required=True, help="SQLite file; made if it does not exist")
    parser.add_argument("--instruments", type=Path, required=True, help="CSV of the instruments that are listed")
    parser.add_argument(
        "--control-key-env",
        default="SAUDA_EXCHANGE_CONTROL_KEY",
        help="environment variable that holds the key of the control endpoints; empty leaves them out",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
