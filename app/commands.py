"""The commands of administration: each does one thing, says what it did, and may be repeated."""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import date
from decimal import Decimal
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError

from app.bootstrap.foundation import Foundation, foundation
from app.bootstrap.paper import paper_accounts, paper_market, replay_service
from app.core.instruments import BrokerSymbol
from app.core.replays import ReplayState
from app.engine.feed import PAPER_SOURCE
from app.infra.config import Config
from app.infra.crypto import Passwords
from app.infra.ids import new_id
from app.infra.logging import configure_logging
from app.infra.migrations import migrate
from app.market_data.paper_market import PaperMarketError
from app.market_data.sample import NoSuchDay, sample_days, sample_instruments
from app.repositories.replays import Replay
from app.repositories.users import User
from app.services.replays import ReplayFigures, ReplayService, differences

admin = typer.Typer(no_args_is_help=True)
account = typer.Typer(no_args_is_help=True)
sample = typer.Typer(no_args_is_help=True)

PAPER_ACCOUNT = "paper"
FOLLOW_EVERY_S = 2.0


def read_config() -> Config:
    """Return the settings from the environment, or end with one line that names what is missing or wrong."""
    try:
        return Config()
    except ValidationError as error:
        problems = ", ".join(f"SAUDA_{str(item['loc'][0]).upper()}: {item['msg']}" for item in error.errors())
        fail(f"settings are missing or wrong: {problems}. scripts/run sets all of them")


def fail(message: str) -> NoReturn:
    """End with one line on stderr and exit code 1."""
    typer.secho(f"sauda: {message}", err=True, fg=typer.colors.RED)
    raise typer.Exit(1)


def say(message: str) -> None:
    """Tell a person something; stdout stays free for results."""
    typer.echo(message, err=True)


def _run[Result](work: Callable[[Foundation], Awaitable[Result]]) -> Result:
    config = read_config()
    configure_logging(role="command", level="WARNING", log_format="console")

    async def _main() -> Result:
        async with foundation(config) as base:
            return await work(base)

    try:
        return asyncio.run(_main())
    except (OSError, PaperMarketError) as error:
        fail(f"{error}. Is everything running? scripts/run starts it")


def migrate_database() -> None:
    """Bring the database's tables to this release; does nothing where they are."""
    migrate(read_config().database_url.get_secret_value())
    say("the database is at this release")


@admin.command("create")
def create_admin(
    username: Annotated[str, typer.Option(help="Name to log in with")] = "admin",
    if_none: Annotated[bool, typer.Option("--if-none", help="Do nothing where there is a user already")] = False,
) -> None:
    """Create an administrator with a generated password, which is shown once."""
    password = secrets.token_urlsafe(15)

    async def _create(base: Foundation) -> bool:
        hashed = Passwords().hash(password)
        async with base.uow.transaction() as tx:
            if if_none and await tx.users.count():
                return False
            if await tx.users.by_username(username) is not None:
                fail(f"there is a user {username!r} already; `sauda admin reset-password` gives a new password")
            await tx.users.add(User(id=new_id(), username=username, password_hash=hashed, role="ADMIN", disabled=False))
        return True

    if _run(_create):
        _show_password(username, password)


@admin.command("reset-password")
def reset_password(username: Annotated[str, typer.Argument(help="Whose password")] = "admin") -> None:
    """Give a user a new generated password, which is shown once."""
    password = secrets.token_urlsafe(15)

    async def _reset(base: Foundation) -> bool:
        async with base.uow.transaction() as tx:
            return await tx.users.set_password(username, Passwords().hash(password))

    if not _run(_reset):
        fail(f"there is no user {username!r}")
    _show_password(username, password)


def _show_password(username: str, password: str) -> None:
    typer.echo(f"user {username}, password {password}  (shown once: keep it)")


@account.command("add-paper")
def add_paper_account(
    name: Annotated[str, typer.Argument(help="Name of the account")],
    broker: Annotated[str, typer.Option(help="angelone (the paper exchange), or null, which takes and forgets")] = (
        "angelone"
    ),
    orders_per_second: Annotated[int, typer.Option(min=1, max=10000, help="Budget for broker writes")] = 9,
    if_none: Annotated[bool, typer.Option("--if-none", help="Do nothing where it exists already")] = False,
) -> None:
    """Create a paper account with play money; the keeper opens it at the paper exchange and logs it in."""

    async def _add(base: Foundation) -> bool:
        market = paper_market(base.config)
        try:
            async with base.uow.transaction() as tx:
                if await tx.accounts.by_name(name) is not None:
                    return False
                await paper_accounts(base, market).add(
                    tx, name=name, market_source=PAPER_SOURCE, broker=broker, orders_per_second=orders_per_second
                )
        finally:
            await market.close()
        return True

    if _run(_add):
        say(f"paper account {name!r} created")
    elif not if_none:
        fail(f"there is an account {name!r} already")


@account.command("list")
def list_accounts() -> None:
    """List the broker accounts."""

    async def _list(base: Foundation) -> None:
        async with base.uow.transaction() as tx:
            for one in await tx.accounts.all():
                session = await tx.sessions.get(one.id)
                typer.echo(f"{one.name}\t{one.mode}\t{one.status}\t{session.state if session else 'LOGGED_OUT'}")

    _run(_list)


@sample.command("load")
def load_sample() -> None:
    """Load the sample's instruments, and make the paper account; does nothing where they are there."""

    async def _load(base: Foundation) -> int:
        found = sample_instruments()
        async with base.uow.transaction() as tx:
            for entry in found:
                instrument_id = await tx.instruments.upsert(entry.instrument)
                for broker in (entry.broker, "null"):
                    await tx.instruments.upsert_symbol(
                        BrokerSymbol(
                            broker=broker,
                            instrument_id=instrument_id,
                            trading_symbol=entry.trading_symbol,
                            token=entry.token,
                        )
                    )
        return len(found)

    say(f"{_run(_load)} instruments loaded")
    add_paper_account(PAPER_ACCOUNT, broker="angelone", orders_per_second=9, if_none=True)


def replay(
    day: Annotated[str, typer.Argument(help="YYYY-MM-DD, or 'sample' for the first day there is")] = "sample",
    speed: Annotated[float, typer.Option(min=0, max=3600, help="Times market speed; 0: as fast as it goes")] = 0.0,
    until_done: Annotated[bool, typer.Option("--until-done", help="Wait for the end and show the result")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on the last line of stdout")] = False,
    list_days: Annotated[bool, typer.Option("--list-days", help="List the days there are, and end")] = False,
) -> None:
    """Play a recorded market day through the running system: exchange, feed, strategies, workers, fills."""
    days = sample_days()
    if list_days:
        for one in days:
            typer.echo(one.isoformat())
        return
    wanted = _day(day, days)

    async def _replay(base: Foundation) -> bool:
        market = paper_market(base.config)
        try:
            service = replay_service(base, market)
            requested = await service.request(wanted, speed=Decimal(str(speed)))
            say(f"replay of {wanted} requested on account {requested.source}")
            if until_done:
                return await _follow(service, requested, as_json=as_json)
        finally:
            await market.close()
        return True

    if not _run(_replay):
        raise typer.Exit(1)


def demo() -> None:
    """Play the first day fast, then the following days at market speed, until stopped."""

    async def _demo(base: Foundation) -> None:
        market = paper_market(base.config)
        try:
            service = replay_service(base, market)
            for index, day in enumerate(sample_days()):
                speed = Decimal(0) if index == 0 else Decimal(1)
                requested = await service.request(day, speed=speed)
                say(f"playing {day} at {'full' if index == 0 else 'market'} speed on account {requested.source}")
                await _follow(service, requested, as_json=False)
        finally:
            await market.close()

    _run(_demo)


def _day(text: str, days: list[date]) -> date:
    if text == "sample":
        return days[0]
    try:
        wanted = date.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is not a day: write YYYY-MM-DD, or 'sample'")
    if wanted not in days:
        fail(str(NoSuchDay(f"the sample has no bars of {wanted}; --list-days lists what it has")))
    return wanted


async def _follow(service: ReplayService, replay: Replay, *, as_json: bool) -> bool:
    """Show the progress of a replay until its end, then its result; true where all went well."""
    started, shown = time.monotonic(), 0
    while True:
        replay = await service.get(replay.id)
        if replay.state in (ReplayState.DONE, ReplayState.FAILED):
            break
        if replay.bars_done > shown:
            say(f"  {replay.day}: {replay.bars_done} of {replay.bars_total} bars")
            shown = replay.bars_done
        await asyncio.sleep(FOLLOW_EVERY_S)
    figures = await service.figures(replay)
    wrong = differences(figures, await service.ledger(replay))
    if replay.error:
        wrong.append(replay.error)
    for line in wrong:
        say(f"WRONG: {line}")
    duration_s = round(time.monotonic() - started, 2)
    if replay.started_at and replay.finished_at:
        duration_s = round((replay.finished_at - replay.started_at).total_seconds(), 2)
    _show(replay.day, figures, duration_s, as_json=as_json)
    return not wrong


def _show(day: date, figures: ReplayFigures, duration_s: float, *, as_json: bool) -> None:
    result = {
        "day": day.isoformat(),
        "bars": figures.bars,
        "signals": figures.signals,
        "orders": figures.orders,
        "fills": figures.fills,
        "rejected": figures.rejected,
        "unknown": figures.unknown,
        "open_positions": figures.open_positions,
        "realized_pnl": str(figures.realized_pnl),
        "fees": str(figures.fees),
        "p50_order_ms": _number(figures.p50_order_ms),
        "p99_order_ms": _number(figures.p99_order_ms),
        "duration_s": duration_s,
    }
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
        return
    for name, value in result.items():
        say(f"  {name:>15}  {value}")


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
