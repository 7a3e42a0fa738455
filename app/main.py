"""The command line: the roles that PM2 starts, and the commands of administration."""

import asyncio
import importlib
from collections.abc import Awaitable, Callable

import typer

from app import commands
from app.infra.config import Config
from app.infra.lifecycle import run_until_stopped
from app.infra.logging import configure_logging

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Sauda: places each order once, or says exactly why not. Roles are long-running processes; PM2 starts them.",
)
cli.add_typer(commands.admin, name="admin", help="Administrators of the API.")
cli.add_typer(commands.account, name="account", help="Broker accounts.")
cli.add_typer(commands.sample, name="sample", help="The recorded market days that come with Sauda.")
cli.command("migrate", help="Bring the database's tables to this release.")(commands.migrate_database)
cli.command("replay", help="Play a recorded market day through the running system.")(commands.replay)
cli.command("demo", help="Play the first day fast and the following ones at market speed.")(commands.demo)


@cli.command(rich_help_panel="Roles")
def api() -> None:
    """Serve the REST API."""
    _run_role("api")


@cli.command(rich_help_panel="Roles")
def worker() -> None:
    """Carry order commands to the broker."""
    _run_role("worker")


@cli.command(rich_help_panel="Roles")
def keeper() -> None:
    """Keep the books true: lost bells, dead claims, logins, order updates and fills."""
    _run_role("keeper")


@cli.command(rich_help_panel="Roles")
def scheduler() -> None:
    """Run the strategies."""
    _run_role("scheduler")


@cli.command(rich_help_panel="Roles")
def feed() -> None:
    """Write market data, and conduct replays."""
    _run_role("feed")


@cli.command(rich_help_panel="Roles")
def exchange() -> None:
    """Run the paper exchange: a local market that speaks Angel One's SmartAPI."""
    _run_role("exchange")


def main() -> None:
    """Run the command line."""
    cli()


Role = Callable[[Config, asyncio.Event], Awaitable[None]]


def _run_role(name: str) -> None:
    config = commands.read_config()
    configure_logging(role=name, level=config.log_level, log_format=config.log_format)
    # By name, so that a process loads its own role and not six others: a third less memory, and half the start.
    role: Role = importlib.import_module(f"app.bootstrap.{name}").run

    async def _main(stop: asyncio.Event) -> None:
        await role(config, stop)

    run_until_stopped(_main)
