"""The command line: the roles that PM2 starts, and the commands of administration."""

from collections.abc import Callable

import typer

from app.bootstrap.roles import ROLES, run_role
from app.commands import accounts, attention, replays, setting_up

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Sauda: places each order once, or says exactly why not. Roles are long-running processes; PM2 starts them.",
)
cli.command("prepare")(setting_up.prepare)
cli.command("migrate")(setting_up.migrate_database)
cli.command("replay")(replays.replay)
cli.command("demo")(replays.demo)
cli.add_typer(accounts.admin, name="admin", help="Administrators of the API.")
cli.add_typer(accounts.account, name="account", help="Broker accounts.")
cli.add_typer(attention.alerts, name="alerts", help="What a person should look at.")
cli.add_typer(attention.dead_letters, name="dead-letters", help="Commands that can go no further by themselves.")
cli.add_typer(setting_up.sample, name="sample", help="The recorded market days that come with Sauda.")


def _role_command(name: str) -> Callable[[], None]:
    def command() -> None:
        run_role(name)

    return command


for _name, _help in ROLES.items():
    cli.command(_name, help=_help, rich_help_panel="Roles")(_role_command(_name))
