"""Replays inside the test: all roles in this process, against the real paper exchange in a process of its own."""

from collections.abc import AsyncIterator, Iterator

import pytest

from app.engine import feed as feed_module
from app.market_data.sample import SampleDay, load_day
from tests.harness.desk import Desk, desk
from tests.harness.market import Market


@pytest.fixture(scope="module")
def market() -> Iterator[Market]:
    made = Market()
    yield made
    made.stop()


@pytest.fixture
async def studio(
    database_url: str, redis_url: str, market: Market, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    """A desk whose feed plays the first 70 minutes of a day only."""

    def first_minutes(*args: object) -> SampleDay:
        day = load_day(*args)  # type: ignore[arg-type]  # passed through
        return SampleDay(day.day, day.minutes[:70])

    monkeypatch.setattr(feed_module, "load_day", first_minutes)
    async with desk(database_url, redis_url, exchange_port=market.port, account=False, lease_ttl_s=2.0) as made:
        yield made
