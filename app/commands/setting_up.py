"""Bringing an installation up: tables, a first administrator, the sample's instruments."""

import typer

from app.bootstrap.foundation import Foundation
from app.commands.accounts import add_paper_account, create_admin
from app.commands.console import read_config, run, say
from app.core.instruments import BrokerSymbol
from app.infra.migrations import migrate
from app.market_data.sample import sample_instruments

sample = typer.Typer(no_args_is_help=True)

PAPER_ACCOUNT = "paper"


def prepare() -> None:
    """Do all that a start needs: migrate, create an administrator where there is none, load the sample."""
    migrate_database()
    create_admin(username="admin", if_none=True)
    load_sample()


def migrate_database() -> None:
    """Bring the database's tables to this release; does nothing where they are."""
    migrate(read_config().database_url.get_secret_value())
    say("the database is at this release")


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

    say(f"{run(_load)} instruments loaded")
    add_paper_account(PAPER_ACCOUNT, broker="angelone", orders_per_second=9, if_none=True)
