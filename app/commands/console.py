"""How a command speaks: results on stdout, everything for people on stderr, and errors in one line."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import NoReturn

import typer
from pydantic import ValidationError

from app.bootstrap.foundation import Foundation, foundation
from app.infra.config import Config, explain
from app.infra.logging import configure_logging
from app.market_data.paper_market import PaperMarketError


def read_config() -> Config:
    """Return the settings from the environment, or end with one line that names what is missing or wrong."""
    try:
        return Config()
    except ValidationError as error:
        fail(explain(error))


def fail(message: str) -> NoReturn:
    """End with one line on stderr and exit code 1."""
    typer.secho(f"sauda: {message}", err=True, fg=typer.colors.RED)
    raise typer.Exit(1)


def actor() -> str:
    """Return who gives the command, for the audit log."""
    return f"cli:{os.environ.get('USER') or os.getuid()}"


def say(message: str) -> None:
    """Tell a person something; stdout stays free for results."""
    typer.echo(message, err=True)


def run[Result](work: Callable[[Foundation], Awaitable[Result]]) -> Result:
    """Do a command's work on the foundation, and return its result; what is away ends it with one line."""
    config = read_config()
    configure_logging(role="command", level="WARNING", log_format="console")

    async def _main() -> Result:
        async with foundation(config) as base:
            return await work(base)

    try:
        return asyncio.run(_main())
    except (OSError, PaperMarketError) as error:
        fail(f"{error}. Is everything running? scripts/run starts it")
