"""Bells and last prices are conveniences: a Redis that is away costs 50 ms and nothing else."""

import asyncio
import json
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from decimal import Decimal
from typing import cast
from uuid import UUID

import pytest
from redis.asyncio import Redis

from app.core.bars import Tick
from app.infra.events import Channel, EventBell, wait_or_timeout
from app.infra.redis import build_redis
from app.market_data.last_prices import KEY, LastPrices
from tests.harness.redis import RedisProcess

TICK = Tick(instrument_id=UUID(int=7), at=datetime(2019, 1, 1, 6, 30, tzinfo=UTC), price=Decimal("182.05"), volume=9)
MARGIN_S = 0.5


@pytest.mark.parametrize("trouble", ["killed", "frozen"])
async def test_a_bell_and_a_price_never_raise_and_never_block(own_redis: RedisProcess, trouble: str) -> None:
    client = build_redis(own_redis.url)
    bell, prices = EventBell(client), LastPrices(client)
    await bell.ring(Channel.MARKET)
    if trouble == "killed":
        own_redis.kill()
    else:
        own_redis.pause()
    began = time.monotonic()
    await bell.ring(Channel.MARKET)
    await prices.write("market", [TICK])
    assert time.monotonic() - began < 0.1 + MARGIN_S
    own_redis.resume()
    await client.aclose()


async def test_after_redis_is_back_the_bell_rings_again(own_redis: RedisProcess) -> None:
    client, listener = build_redis(own_redis.url), build_redis(own_redis.url)
    bell = EventBell(client)
    await bell.ring(Channel.MARKET)
    own_redis.restart()
    async with asyncio.timeout(10), listener.pubsub() as subscription:
        await subscription.subscribe(Channel.MARKET.value)
        while True:
            await bell.ring(Channel.MARKET)
            message = await subscription.get_message(ignore_subscribe_messages=True, timeout=0.1)
            if message is not None:
                break
    assert message["data"] == b"1"
    await client.aclose()
    await listener.aclose()


async def test_the_last_price_of_each_source_is_kept_as_text(redis: Redis) -> None:
    prices = LastPrices(redis)
    await prices.write("market", [])
    assert not await redis.exists(KEY)
    await prices.write("market", [TICK])
    await prices.write("another", [TICK])
    hashed = await cast(Awaitable[dict[bytes, bytes]], redis.hgetall(KEY))
    stored = {key.decode(): json.loads(value) for key, value in hashed.items()}
    entry = {"price": "182.05", "at": "2019-01-01T06:30:00+00:00"}
    assert stored == {f"{source}:{TICK.instrument_id}": entry for source in ("market", "another")}


async def test_a_wait_ends_with_the_bell_or_with_its_time_and_is_ready_for_the_next() -> None:
    rung = asyncio.Event()
    await wait_or_timeout(rung, 0.001)
    rung.set()
    async with asyncio.timeout(5):
        await wait_or_timeout(rung, 3600)
    assert not rung.is_set()
