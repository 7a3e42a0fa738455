"""The keeper and the worker inside the test, against the real paper exchange in a process of its own."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.harness.desk import Desk, desk
from tests.harness.market import Market


@pytest.fixture(scope="module")
def shared_market() -> Iterator[Market]:
    market = Market()
    yield market
    market.stop()


@pytest.fixture
def market(shared_market: Market) -> Iterator[Market]:
    """The exchange in free mode with YESBANK at 182.65 and no faults."""
    shared_market.print_price("182.65")
    yield shared_market
    shared_market.faults()


@pytest.fixture
async def trading(database_url: str, redis_url: str, market: Market) -> AsyncIterator[Desk]:
    """A desk whose account is at the exchange; it rings no bells by itself, so that the sweep must."""
    async with desk(database_url, redis_url, exchange_port=market.port, lease_ttl_s=1.0) as made:
        await made.set_market_time(made.base.clock.now(), step=2)  # the exchange's clock runs with the wall's
        yield made
