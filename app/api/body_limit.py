"""Refuses bodies that no request of this API can need, before they are read."""

from enum import Enum

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import problem_response

MAX_BODY_BYTES = 64 * 1024
MAX_DISCARDED_BYTES = 16 * 1024 * 1024
"""How much of a refused body is read and thrown away: a client that still sends would not see the answer."""


class _Unread(Enum):
    """Why there is no body."""

    TOO_LARGE = "TOO_LARGE"
    DISCONNECTED = "DISCONNECTED"


class BodyLimit:
    """ASGI middleware: 413 for a body over the limit, whether it says its length or not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        if body is _Unread.TOO_LARGE:
            await _refuse(scope, receive, send)
        elif isinstance(body, bytes):
            await self._app(scope, _replayed(body, receive), send)


async def _read(receive: Receive) -> bytes | _Unread:
    """Return the whole body, unless it is over the limit or its sender left in the middle of it."""
    body = b""
    size = 0
    more = True
    while more and size <= MAX_DISCARDED_BYTES:
        message = await receive()
        if message["type"] != "http.request":
            return _Unread.DISCONNECTED
        part = message.get("body", b"")
        size += len(part)
        body = body + part if size <= MAX_BODY_BYTES else b""
        more = message.get("more_body", False)
    return body if size <= MAX_BODY_BYTES else _Unread.TOO_LARGE


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    response = problem_response(
        status=413,
        code="body_too_large",
        title="The body is too large",
        detail=f"a request body may have {MAX_BODY_BYTES} bytes",
        headers={"Connection": "close"},
    )
    await response(scope, receive, send)


def _replayed(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def _receive() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return _receive
