from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.infra.database import build_engine
from app.repositories.unit_of_work import UnitOfWork
from tests.harness.records import World


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine over this test's own database, with room for twenty tasks at once."""
    engine = build_engine(database_url, pool_size=20)
    yield engine
    await engine.dispose()


@pytest.fixture
def uow(engine: AsyncEngine) -> UnitOfWork:
    return UnitOfWork(engine)


@pytest.fixture
async def world(engine: AsyncEngine) -> World:
    """An active account with a market clock at noon, and one share."""
    return await World.build(engine)
