import asyncio
from collections.abc import Iterator
from contextlib import suppress

import pytest

from app.infra import wakeup
from app.infra.wakeup import WakeUp
from tests.harness.queue import eventually, queue_client
from tests.harness.redis import RedisProcess

CHANNEL = "test:wake"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(wakeup, "QUIET_S", 0.05)
    return


class Wakes:
    def __init__(self) -> None:
        self.count = 0

    def wake(self) -> None:
        self.count += 1


async def test_a_quiet_line_is_kept_and_still_wakes(server: RedisProcess) -> None:
    wakes = Wakes()
    async with queue_client(server.url) as redis:
        listening = asyncio.create_task(WakeUp(redis, CHANNEL, wakes.wake).listen())
        await eventually(lambda: wakes.count == 1)
        (client,) = await redis.client_list(_type="pubsub")

        async def pinged() -> bool:
            return (await redis.client_list(_type="pubsub"))[0]["cmd"] == "ping"

        await eventually(pinged)
        await redis.publish(CHANNEL, 1)
        await eventually(lambda: wakes.count == 2)
        assert [same["id"] for same in await redis.client_list(_type="pubsub")] == [client["id"]]
        await ended(listening)


async def test_a_line_on_which_nobody_answers_is_replaced_and_wakes_once_for_what_was_missed(
    server: RedisProcess,
) -> None:
    wakes = Wakes()
    async with queue_client(server.url) as redis:
        wake_up = WakeUp(redis, CHANNEL, wakes.wake)
        listening = asyncio.create_task(wake_up.listen())
        await eventually(lambda: wakes.count == 1)
        server.pause()
        await eventually(lambda: wake_up._failures > 0)
        server.resume()
        await eventually(lambda: wakes.count == 2)
        await ended(listening)


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
