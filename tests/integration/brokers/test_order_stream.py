"""The order-update socket, against a real WebSocket server."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from app.core.errors import BrokerUnreadable, SessionDead
from app.core.ports import BrokerOrderState
from tests.harness.angelone import SESSION, angelone_broker
from tests.harness.broker_server import golden

GREETING = json.dumps(golden("stream_greeting")["frame"])
UPDATE = json.dumps(golden("stream_update")["frame"])

Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def stream_server(
    handler: Handler, *, refuse_with: Response | None = None
) -> AsyncIterator[tuple[str, list[Request]]]:
    """Yield the base URL of a stream server and the requests that it got."""
    seen: list[Request] = []

    def on_request(connection: ServerConnection, request: Request) -> Response | None:
        seen.append(request)
        return refuse_with

    async with serve(handler, "127.0.0.1", 0, process_request=on_request) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}", seen


def sending(*frames: str | bytes) -> Handler:
    async def handler(connection: ServerConnection) -> None:
        for frame in frames:
            await connection.send(frame)

    return handler


async def test_updates_come_without_the_greeting_and_the_session_travels_in_the_header() -> None:
    async with stream_server(sending(GREETING, UPDATE)) as (url, seen):
        broker = angelone_broker(url)
        async with broker.order_updates(SESSION) as updates:
            update = await anext(updates)
        await broker.close()
    assert update.state is BrokerOrderState.COMPLETE
    assert (update.tag, update.filled_quantity) == ("SDAAAAAAAAAAAAAAAA", 10)
    assert seen[0].path == "/smart-order-update"
    assert seen[0].headers["Authorization"] == f"Bearer {SESSION.access_token}"


async def test_a_lost_connection_is_an_error_and_never_a_quiet_end() -> None:
    async with stream_server(sending(GREETING)) as (url, _):
        broker = angelone_broker(url)
        async with broker.order_updates(SESSION) as updates:
            with pytest.raises(BrokerUnreadable, match="lost"):
                await anext(updates)
        await broker.close()


@pytest.mark.parametrize(
    "frame",
    [
        "not json",
        b"\xff\xfe",
        "[]",
        '{"status-code":"200","order-status":"AB05","orderData":null}',
        UPDATE.replace('"10"', '"ten"'),
        UPDATE.replace('"200"', '"500"'),
        "x" * 70_000,
    ],
    ids=["text", "bytes", "list", "no order", "odd quantity", "error frame", "oversized"],
)
async def test_a_frame_that_cannot_be_understood_ends_the_stream_with_an_error(frame: str | bytes) -> None:
    async with stream_server(sending(frame, UPDATE)) as (url, _):
        broker = angelone_broker(url)
        async with broker.order_updates(SESSION) as updates:
            with pytest.raises(BrokerUnreadable):
                await anext(updates)
        await broker.close()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (HTTPStatus.UNAUTHORIZED, SessionDead),
        (HTTPStatus.FORBIDDEN, SessionDead),
        (HTTPStatus.TOO_MANY_REQUESTS, BrokerUnreadable),
        (HTTPStatus.BAD_GATEWAY, BrokerUnreadable),
    ],
)
async def test_a_refused_upgrade_says_whether_the_session_is_to_blame(
    status: HTTPStatus, error: type[BrokerUnreadable]
) -> None:
    refusal = Response(status.value, status.phrase, Headers())
    async with stream_server(sending(), refuse_with=refusal) as (url, _):
        broker = angelone_broker(url)
        with pytest.raises(BrokerUnreadable) as refused:
            async with broker.order_updates(SESSION):
                raise AssertionError("the stream must not open")
        await broker.close()
    assert type(refused.value) is error


async def test_a_redirect_is_not_followed() -> None:
    async with stream_server(sending(GREETING)) as (elsewhere, reached):
        moved = Response(302, "Found", Headers({"Location": elsewhere.replace("http", "ws")}))
        async with stream_server(sending(), refuse_with=moved) as (url, _):
            broker = angelone_broker(url)
            with pytest.raises(BrokerUnreadable):
                async with broker.order_updates(SESSION):
                    raise AssertionError("the stream must not open")
            await broker.close()
    assert reached == []


async def test_nobody_listening_is_unreadable() -> None:
    async with stream_server(sending()) as (url, _):
        pass
    broker = angelone_broker(url)
    with pytest.raises(BrokerUnreadable, match="does not open"):
        async with broker.order_updates(SESSION):
            raise AssertionError("the stream must not open")
    await broker.close()


async def test_cancelling_a_reader_ends_it() -> None:
    greeted = asyncio.Event()

    async def greeting(connection: ServerConnection) -> None:
        await connection.send(GREETING)
        greeted.set()
        await connection.wait_closed()

    async with stream_server(greeting) as (url, _):
        broker = angelone_broker(url)

        async def listen() -> None:
            async with broker.order_updates(SESSION) as updates:
                await anext(updates)

        reader = asyncio.create_task(listen())
        await asyncio.wait_for(greeted.wait(), 5)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await broker.close()
