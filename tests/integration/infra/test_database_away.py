"""An error is called "the database is away" exactly where trying later makes sense."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.infra.database import build_engine, is_database_away
from tests.harness.ports import free_port
from tests.harness.postgres import PostgresProcess


@pytest.fixture
def own_postgres() -> Iterator[PostgresProcess]:
    """A server of this test's own, to be stopped and frozen."""
    server = PostgresProcess()
    yield server
    server.stop()


@pytest.fixture
async def engine(own_postgres: PostgresProcess) -> AsyncIterator[AsyncEngine]:
    engine = build_engine(own_postgres.url, pool_size=4)
    yield engine
    await engine.dispose()


async def ask(engine: AsyncEngine, statement: str = "SELECT 1") -> BaseException | None:
    try:
        async with engine.connect() as connection:
            await connection.execute(text(statement))
    except Exception as error:  # noqa: BLE001  the kind of error is what is looked at
        return error
    return None


async def test_a_port_where_nobody_listens_is_a_database_that_is_away() -> None:
    engine = build_engine(f"postgresql+asyncpg://nobody@127.0.0.1:{free_port()}/nothing")
    error = await ask(engine)
    await engine.dispose()
    assert error is not None
    assert is_database_away(error)


async def test_every_error_around_a_restart_means_away_and_the_engine_recovers(
    own_postgres: PostgresProcess, engine: AsyncEngine
) -> None:
    assert await ask(engine) is None
    errors: list[BaseException] = []
    restart = asyncio.create_task(asyncio.to_thread(own_postgres.restart, immediate=True))
    while not restart.done() or await ask(engine) is not None:
        answers = await asyncio.gather(*(ask(engine) for _ in range(4)))
        errors += [error for error in answers if error is not None]
    await restart
    assert errors
    assert [error for error in errors if not is_database_away(error)] == []
    assert await ask(engine) is None


async def test_a_server_that_ends_a_running_statement_is_away(
    own_postgres: PostgresProcess, engine: AsyncEngine
) -> None:
    sleeping = asyncio.create_task(ask(engine, "SELECT pg_sleep(60)"))
    active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
    async with engine.connect() as connection:
        while (await connection.execute(text(active))).scalar_one() == 0:
            await connection.rollback()
    await asyncio.to_thread(own_postgres.kill)
    error = await sleeping
    assert error is not None
    assert is_database_away(error)


async def test_a_pool_with_no_free_connection_is_a_reason_to_try_later(
    own_postgres: PostgresProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.infra.database.POOL_WAIT_S", 0.05)
    engine = build_engine(own_postgres.url, pool_size=1)
    async with engine.connect():
        error = await ask(engine)
    await engine.dispose()
    assert error is not None
    assert is_database_away(error)


@pytest.mark.parametrize("condition", ["lock_not_available", "query_canceled", "deadlock_detected"])
async def test_another_session_in_the_way_is_a_reason_to_try_later(postgres: PostgresProcess, condition: str) -> None:
    engine = build_engine(postgres.url)
    error = await ask(engine, f"DO $$ BEGIN RAISE {condition}; END $$")
    await engine.dispose()
    assert error is not None
    assert is_database_away(error)


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SELEC 1", ProgrammingError),
        ("SELECT 1 FROM no_such_table", ProgrammingError),
        ("SELECT 1 / 0", DBAPIError),
        ("DO $$ BEGIN RAISE unique_violation; END $$", IntegrityError),
    ],
)
async def test_a_statement_that_is_wrong_stays_wrong(
    postgres: PostgresProcess, statement: str, kind: type[DBAPIError]
) -> None:
    engine = build_engine(postgres.url)
    error = await ask(engine, statement)
    await engine.dispose()
    assert isinstance(error, kind)
    assert not is_database_away(error)


def test_a_bug_is_not_a_database_that_is_away() -> None:
    assert not is_database_away(KeyError("a bug"))
    assert not is_database_away(ValueError("a bug"))
