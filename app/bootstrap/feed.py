"""The feed role."""

import asyncio
from contextlib import AsyncExitStack

from app.bootstrap.foundation import foundation, leadership, listening
from app.bootstrap.paper import paper_market
from app.engine.feed import Feed
from app.engine.replay import Conductor
from app.infra.config import Config
from app.infra.events import Channel
from app.market_data.last_prices import LastPrices


async def run(config: Config, stop: asyncio.Event) -> None:
    """Run the market data feed, active or standing by, until the stop."""
    async with foundation(config) as base, AsyncExitStack() as stack:
        market = paper_market(config)
        stack.push_async_callback(market.close)
        progress, requested = asyncio.Event(), asyncio.Event()
        await stack.enter_async_context(listening(base, Channel.PROGRESS, progress))
        await stack.enter_async_context(listening(base, Channel.REPLAYS, requested))
        conductor = Conductor(
            uow=base.uow,
            market=market,
            prices=LastPrices(base.redis),
            bell=base.bell,
            progress=progress,
            clock=base.clock,
        )
        feed = Feed(uow=base.uow, market=market, conductor=conductor, clock=base.clock, requested=requested)
        await leadership(base, "feed").run(stop, feed.lead)
