"""Administrators and broker accounts."""

import secrets
from typing import Annotated

import typer

from app.bootstrap.foundation import Foundation
from app.bootstrap.paper import paper_accounts, paper_market
from app.commands.console import actor, fail, run, say
from app.engine.feed import PAPER_SOURCE
from app.infra.crypto import Passwords
from app.infra.ids import new_id
from app.repositories.users import User

admin = typer.Typer(no_args_is_help=True)
account = typer.Typer(no_args_is_help=True)

PAGE = 200


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

    if run(_create):
        _show_password(username, password)


@admin.command("reset-password")
def reset_password(username: Annotated[str, typer.Argument(help="Whose password")] = "admin") -> None:
    """Give a user a new generated password, which is shown once."""
    password = secrets.token_urlsafe(15)

    async def _reset(base: Foundation) -> bool:
        async with base.uow.transaction() as tx:
            return await tx.users.set_password(username, Passwords().hash(password))

    if not run(_reset):
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

    if run(_add):
        say(f"paper account {name!r} created")
    elif not if_none:
        fail(f"there is an account {name!r} already")


@account.command("list")
def list_accounts() -> None:
    """List the broker accounts: mode, status, login, and what keeps entries out."""

    async def _list(base: Foundation) -> None:
        after: str | None = None
        while True:
            async with base.uow.statement() as tx:
                page = await tx.account_states.page(after=after, limit=PAGE)
            for one in page:
                account, blocks = one.account, ",".join(block.reason for block in one.blocks) or "-"
                typer.echo(f"{account.name}\t{account.mode}\t{account.status}\t{one.session}\t{blocks}")
            if len(page) < PAGE:
                return
            after = page[-1].account.name

    run(_list)


@account.command("login")
def log_in_again(
    name: Annotated[str, typer.Argument(help="Name of the account")],
    reason: Annotated[str | None, typer.Option(help="Why; it is kept in the audit log")] = None,
) -> None:
    """Let an account be logged in again after its broker refused it; look at the credentials first."""

    async def _allow(base: Foundation) -> str | None:
        async with base.uow.transaction() as tx:
            found = await tx.accounts.by_name(name)
            if found is None:
                return None
            state = await tx.sessions.allow_again(found.id)
            await tx.audit.add(actor=actor(), action="account.login", subject=name, reason=reason)
        return state

    state = run(_allow)
    if state is None:
        fail(f"there is no account {name!r}")
    say(f"account {name!r} is {state}; the keeper logs it in where that is needed")
