"""Fixtures of every test: real servers, started when first asked for and stopped at the end of the session."""

import itertools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import structlog

if TYPE_CHECKING:
    from tests.harness.postgres import PostgresProcess
    from tests.harness.redis import RedisProcess

_numbers = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> None:
    """Make tests mean their own servers, whatever the caller's environment points at."""
    for name in [name for name in os.environ if name.startswith("SAUDA_")]:
        del os.environ[name]


@pytest.fixture(scope="session")
def postgres() -> "Iterator[PostgresProcess]":
    """One PostgreSQL for the session. A test that stops or pauses servers makes one of its own."""
    from tests.harness.postgres import PostgresProcess  # noqa: PLC0415  pure tests do not pay for drivers

    server = PostgresProcess()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server() -> "Iterator[RedisProcess]":
    """One Redis for the session, shared: use `redis_url` for an empty one."""
    from tests.harness.redis import RedisProcess  # noqa: PLC0415  pure tests do not pay for drivers

    server = RedisProcess()
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: "RedisProcess") -> str:
    """URL of a Redis that is empty at the start of the test."""
    redis_server.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def migrated_template(postgres: "PostgresProcess") -> str:
    """Name of a migrated database that tests copy; nobody connects to it."""
    from app.infra.migrations import migrate  # noqa: PLC0415  pure tests do not pay for drivers

    migrate(postgres.create_database("sauda_template"))
    return "sauda_template"


@pytest.fixture
def database_url(postgres: "PostgresProcess", migrated_template: str) -> Iterator[str]:
    """URL of a migrated, empty database of this test's own."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    yield postgres.create_database(name, template=migrated_template)
    postgres.drop_database(name)


def pytest_configure() -> None:
    """Print tracebacks plainly: structlog's own way with every local in them takes seconds, and leases run out."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
        ]
    )
