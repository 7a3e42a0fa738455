"""Serving an ASGI application until a stop event: the signals of a process belong to its life cycle, not to uvicorn."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator

import uvicorn

GRACEFUL_S = 5

AsgiApplication = Callable[..., Awaitable[None]]


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_until(stop: asyncio.Event, application: AsgiApplication, *, host: str, port: int) -> None:
    """Serve until the stop, then let running requests finish for a few seconds.

    Raises `SystemExit` when the port is taken: uvicorn's way to say so.
    """
    server = _Server(
        uvicorn.Config(
            application,
            host=host,
            port=port,
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=GRACEFUL_S,
        )
    )

    async def _pass_on() -> None:
        await stop.wait()
        server.should_exit = True

    passing = asyncio.create_task(_pass_on())
    try:
        await server.serve()
    finally:
        passing.cancel()
