"""The roles: what each does, and running one."""

import asyncio
import importlib
import os
import sys
from collections.abc import Awaitable, Callable

from pydantic import ValidationError

from app.infra import failpoints
from app.infra.config import Config, explain
from app.infra.lifecycle import run_until_stopped
from app.infra.logging import configure_logging
from app.infra.metrics import keep_in_files, metrics_folder

ROLES = {
    "api": "Serve the REST API.",
    "worker": "Carry order commands to the broker.",
    "keeper": "Keep the books true: lost bells, dead claims, logins, order updates and fills.",
    "scheduler": "Run the strategies.",
    "feed": "Write market data, and conduct replays.",
    "exchange": "Run the paper exchange: a local market that speaks Angel One's SmartAPI.",
}

Role = Callable[[Config, asyncio.Event], Awaitable[None]]


def run_role(name: str) -> None:
    """Run a role until SIGINT or SIGTERM; wrong settings end the process with one line."""
    try:
        config = Config()
    except ValidationError as error:
        sys.exit(f"sauda: {explain(error)}")
    configure_logging(role=name, level=config.log_level, log_format=config.log_format)
    keep_in_files(metrics_folder(config.data_dir), role=name)
    try:
        failpoints.arm(os.environ)
    except failpoints.BadFailpoints as error:
        sys.exit(f"sauda: {error}")
    # By name, so that a process loads its own role and not six others: less memory, and half the start.
    role: Role = importlib.import_module(f"app.bootstrap.{name}").run

    async def _main(stop: asyncio.Event) -> None:
        await role(config, stop)

    run_until_stopped(_main)
