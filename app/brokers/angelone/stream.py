"""SmartAPI's order-update socket."""

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from http import HTTPStatus

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from app.brokers.angelone.books import StrangeWord, parse_order
from app.brokers.angelone.values import Malformed, load_json, mapping, one_line, text
from app.core.errors import BrokerUnreadable, SessionDead
from app.core.ports import BrokerOrder

STREAM_PATH = "/smart-order-update"

# The broker wants a sign of life at least every 10 s.
_PING_INTERVAL_S = 8.0
_PING_TIMEOUT_S = 8.0
_CLOSE_TIMEOUT_S = 1.0
_FRAME_BYTES_MAX = 64 * 1024
_FRAMES_MAX = 256
_TOO_MANY_RETRY_AFTER_S = 5.0

_GREETING = "AB00"
# For frames whose order data names no status of its own.
_STATUS_OF_CODE = {
    "AB01": "open",
    "AB02": "cancelled",
    "AB03": "rejected",
    "AB04": "modified",
    "AB05": "complete",
    "AB06": "after market order req received",
    "AB07": "cancelled after market order",
    "AB08": "modify after market order req received",
    "AB09": "open pending",
    "AB10": "trigger pending",
    "AB11": "modify pending",
}


@cache
def _silent_logger() -> logging.Logger:
    """Return a logger that says nothing: the library's own debug log holds the request's headers, so the token."""
    logger = logging.getLogger(f"{__name__}.silent")
    logger.disabled = True
    return logger


class _DirectConnect(connect):
    """Connects to the given address only."""

    def process_redirect(self, exc: Exception) -> Exception:
        """Follow no redirect: it could lead a paper account elsewhere."""
        return exc


@asynccontextmanager
async def open_order_stream(
    url: str, access_token: str, *, open_timeout_s: float, ssl_context: ssl.SSLContext | None
) -> AsyncIterator[AsyncIterator[BrokerOrder]]:
    """Open the stream; raises `SessionDead` or `BrokerUnreadable` when the broker does not let us."""
    connection = await _open(url, access_token, open_timeout_s, ssl_context)
    try:
        yield _updates(connection)
    finally:
        await connection.close()


async def _open(
    url: str, access_token: str, open_timeout_s: float, ssl_context: ssl.SSLContext | None
) -> ClientConnection:
    try:
        return await _DirectConnect(
            url,
            additional_headers={"Authorization": f"Bearer {access_token}"},
            user_agent_header=None,
            proxy=None,
            compression=None,
            open_timeout=open_timeout_s,
            ping_interval=_PING_INTERVAL_S,
            ping_timeout=_PING_TIMEOUT_S,
            close_timeout=_CLOSE_TIMEOUT_S,
            max_size=_FRAME_BYTES_MAX,
            max_queue=_FRAMES_MAX,
            logger=_silent_logger(),
            ssl=ssl_context,
        )
    except InvalidStatus as exc:
        raise _refusal(exc.response.status_code) from None
    except (OSError, TimeoutError, WebSocketException) as exc:
        raise BrokerUnreadable(f"order stream does not open: {type(exc).__name__}") from None


def _refusal(status: int) -> BrokerUnreadable:
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return SessionDead(f"order stream refused the session: HTTP {status}")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return BrokerUnreadable("too many order streams are open", retry_after_s=_TOO_MANY_RETRY_AFTER_S)
    return BrokerUnreadable(f"order stream refused: HTTP {status}")


async def _updates(connection: ClientConnection) -> AsyncIterator[BrokerOrder]:
    while True:
        try:
            frame = await connection.recv()
        except ConnectionClosed:
            raise BrokerUnreadable("order stream is lost") from None
        try:
            order = parse_frame(frame)
        except Malformed as exc:
            raise BrokerUnreadable(f"order stream: {exc}") from None
        if order is not None:
            yield order


def parse_frame(frame: str | bytes) -> BrokerOrder | None:
    """Return the order of a frame; None for the greeting, and for a strange row, of which the book tells.

    Raises `Malformed`.
    """
    envelope = mapping(load_json(frame), "frame")
    code = text(envelope, "order-status")
    status_code = envelope.get("status-code")
    if str(status_code) != "200":
        raise Malformed(one_line(f"status {text(envelope, 'status-code')} {text(envelope, 'error-message')}"))
    data = envelope.get("orderData")
    order = {} if data is None else mapping(data, "orderData")
    if code == _GREETING and not text(order, "orderstatus") and not text(order, "status"):
        return None
    try:
        return parse_order(order, status_fallback=_STATUS_OF_CODE.get(code, ""))
    except StrangeWord:
        return None
