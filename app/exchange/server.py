"""The paper exchange as a server: the application, and serving it until told to stop."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.exchange.book_routes import BookRoutes
from app.exchange.connections import AbortableHttpProtocol
from app.exchange.control_routes import ControlRoutes
from app.exchange.faults import Faults
from app.exchange.ledger import Ledger, LedgerFailed
from app.exchange.market import Market, utc_now
from app.exchange.order_routes import OrderRoutes
from app.exchange.postbacks import Postbacks
from app.exchange.quote_routes import QuoteRoutes
from app.exchange.session_routes import SessionRoutes
from app.exchange.sessions import Sessions
from app.exchange.settings import ExchangeSettings
from app.exchange.update_hub import UpdateHub
from app.exchange.update_socket import UPDATE_PATH, UpdateSocket
from app.exchange.wire import Wire, json_response

PAPER_MARKER = ("X-Paper-Exchange", "sauda")
"""On every response: adapters of paper accounts refuse a login that does not carry it."""

KEEP_ALIVE_S = 60
"""Idle connections are closed after this."""

GRACEFUL_SHUTDOWN_S = 3
"""Requests still unanswered after this are cut off; only held faults take so long."""

CONNECTIONS_MAX = 2000
"""Past this, requests are answered with 503 unread."""

SOCKET_MESSAGE_BYTES_MAX = 4096
"""Clients of the order-update socket say nothing but "ping"."""

STOP_POLL_S = 0.05
BACKLOG = 2048

_log = logging.getLogger(__name__)


class PaperMarker:
    """Marks every response, upgrades and refusals included, as coming from a paper exchange."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and mark its answer."""

        async def marked(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
                MutableHeaders(scope=message)[PAPER_MARKER[0]] = PAPER_MARKER[1]
            await send(message)

        await self._app(scope, receive, marked)


def build_app(settings: ExchangeSettings, *, wall_clock: Callable[[], datetime] = utc_now) -> Starlette:
    """Return the application on its ledger; raises `LedgerFailed` when the ledger cannot be opened."""
    ledger = Ledger(settings.ledger_path)
    market = Market(settings, ledger, wall_clock=wall_clock)
    sessions, faults = Sessions(ledger), Faults()
    hub = UpdateHub(market, faults)
    postbacks = Postbacks(market, faults)
    wire = Wire(market, sessions, faults)

    async def health(_request: Request) -> Response:
        return json_response({"status": "ok", "mode": market.mode, "time": market.now().isoformat()})

    endpoints = [
        # Starlette tries routes in turn: the busiest comes first.
        *OrderRoutes(market).routes(wire),
        *BookRoutes(market).routes(wire),
        *SessionRoutes(market, sessions, hub).routes(wire),
        *QuoteRoutes(market).routes(wire),
        ("GET", "/health", health),
    ]
    if settings.control_key:
        endpoints += ControlRoutes(market, faults, postbacks, settings.control_key).routes()
    app = Starlette(
        routes=[
            *(Route(path, endpoint, methods=[method]) for method, path, endpoint in endpoints),
            WebSocketRoute(UPDATE_PATH, UpdateSocket(wire, hub, faults).serve),
        ],
        middleware=[Middleware(PaperMarker)],
    )
    app.router.redirect_slashes = False
    app.state.ledger = ledger
    app.state.postbacks = postbacks
    return app


async def serve(settings: ExchangeSettings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. Raises `OSError` when the port is taken and `LedgerFailed` when the ledger fails."""
    listening = socket.create_server((settings.host, settings.port), backlog=BACKLOG)
    try:
        app = build_app(settings)
    except LedgerFailed:
        listening.close()
        raise
    ledger: Ledger = app.state.ledger
    server = _Server(
        uvicorn.Config(
            app,
            http=AbortableHttpProtocol,
            ws="websockets-sansio",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            limit_concurrency=CONNECTIONS_MAX,
            ws_max_size=SOCKET_MESSAGE_BYTES_MAX,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_S,
        )
    )
    _log.info("paper exchange listens on %s:%d", *listening.getsockname()[:2])
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="paper-exchange")
    try:
        while not (stop.is_set() or serving.done() or ledger.failed):
            await asyncio.wait({serving}, timeout=STOP_POLL_S)
    finally:
        server.should_exit = True
        await serving
        await app.state.postbacks.close()
        ledger.close()
    if ledger.failed:
        raise LedgerFailed("the ledger could not be written; the market must start anew from what it holds")


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers: the process that we live in has its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield
