"""The migrations make what the models say, can be undone, and set the server's own bounds."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.infra.config import PROJECT_ROOT
from app.infra.database import build_engine
from app.infra.migrations import check_migrations, downgrade, migrate
from tests.harness.postgres import PostgresProcess


@pytest.fixture
def bare_url(postgres: PostgresProcess) -> Iterator[str]:
    """URL of a database without a single table."""
    name = f"bare_{os.getpid()}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


def tables(url: str) -> set[str]:
    async def read() -> set[str]:
        engine = build_engine(url)
        try:
            async with engine.connect() as connection:
                return set(await connection.run_sync(_table_names))
        finally:
            await engine.dispose()

    return asyncio.run(read())


def _table_names(connection: Connection) -> list[str]:
    return inspect(connection).get_table_names()


def test_the_migrated_tables_are_those_of_the_models(bare_url: str) -> None:
    migrate(bare_url)
    check_migrations(bare_url)


def test_upgrade_downgrade_and_upgrade_again_end_where_the_first_upgrade_did(bare_url: str) -> None:
    migrate(bare_url)
    first = tables(bare_url)
    downgrade(bare_url)
    assert tables(bare_url) == {"alembic_version"}
    migrate(bare_url)
    assert tables(bare_url) == first > {"orders", "order_events", "order_commands", "fills", "positions"}
    check_migrations(bare_url)


def test_migrating_twice_changes_nothing(bare_url: str) -> None:
    migrate(bare_url)
    migrate(bare_url)
    check_migrations(bare_url)


MIGRATE = "import sys; from app.infra.migrations import migrate; migrate(sys.argv[1])"


def test_three_processes_that_migrate_at_once_all_end_well(bare_url: str) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", MIGRATE, bare_url], cwd=PROJECT_ROOT) for _ in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    check_migrations(bare_url)


async def setting(engine: AsyncEngine, name: str) -> str:
    async with engine.connect() as connection:
        return str((await connection.execute(text(f"SHOW {name}"))).scalar_one())


async def test_the_server_bounds_statements_locks_and_idle_transactions_of_our_role(bare_url: str) -> None:
    await asyncio.to_thread(migrate, bare_url)
    engine = build_engine(bare_url)
    try:
        assert await setting(engine, "statement_timeout") == "10s"
        assert await setting(engine, "lock_timeout") == "3s"
        assert await setting(engine, "idle_in_transaction_session_timeout") == "15s"
        async with engine.connect() as connection:
            await connection.execute(text("SET statement_timeout = '50ms'"))
            with pytest.raises(DBAPIError, match="statement timeout"):
                await connection.execute(text("SELECT pg_sleep(5)"))
    finally:
        await engine.dispose()
    await asyncio.to_thread(downgrade, bare_url)
    engine = build_engine(bare_url)
    try:
        assert await setting(engine, "statement_timeout") == "0"
    finally:
        await engine.dispose()
