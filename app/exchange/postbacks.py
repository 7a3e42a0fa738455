"""Postbacks: every change of an order, posted to one address. Unsigned and given away once, as the wire's are."""

import asyncio
import json
import logging
from contextlib import suppress

import httpx

from app.exchange.faults import FaultKind, Faults, Op
from app.exchange.fields import Json
from app.exchange.market import Market, TagEcho
from app.exchange.orders import Happening, OrderHappening
from app.exchange.spoilt_answers import with_unknown_status
from app.exchange.wire_rows import update_row

WAITING_MAX = 1_000
"""Postbacks past this are lost: whoever receives them must not count on them anyway."""

POST_TIMEOUT_S = 2.0
REORDERED_AFTER_S = 0.05

_log = logging.getLogger(__name__)


class Postbacks:
    """Posts in a task of its own, so that the market never waits for the receiver. An empty `url` ends it."""

    def __init__(self, market: Market, faults: Faults) -> None:
        self.url = ""
        self._market = market
        self._faults = faults
        self._waiting: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(WAITING_MAX)
        self._sender: asyncio.Task[None] | None = None
        self._lost = 0
        market.listeners.append(self.publish)

    def publish(self, events: list[OrderHappening]) -> None:
        """Let committed events wait to be posted."""
        if not self.url:
            return
        with_tag = self._market.tag_echo is not TagEcho.NONE
        for event in events:
            row = update_row(event, with_tag=with_tag) | {"clientcode": event.order.client_code}
            self._tell(row, is_fill=event.happening is Happening.TRADED)

    async def close(self) -> None:
        """End the posting; what waits is lost."""
        if self._sender is not None:
            self._sender.cancel()
            with suppress(asyncio.CancelledError):
                await self._sender

    def _tell(self, row: dict[str, Json], *, is_fill: bool) -> None:
        strike = self._faults.for_frame(Op.POSTBACK, is_fill=is_fill)
        kind = strike.kind if strike else None
        if kind in (FaultKind.DROP_UPDATE, FaultKind.DROP_FILL_UPDATE):
            return
        if strike is not None and kind is FaultKind.UNKNOWN_STATUS:
            row = with_unknown_status(row, strike.number)
        body = json.dumps(row, separators=(",", ":")).encode()
        if strike is not None and kind in (FaultKind.DELAY_UPDATE, FaultKind.REORDER_UPDATE):
            asyncio.get_running_loop().call_later(max(strike.delay_s, REORDERED_AFTER_S), self._put, body)
            return
        self._put(body)
        if kind is FaultKind.DUPLICATE_UPDATE:
            self._put(body)

    def _put(self, body: bytes) -> None:
        if self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._send(), name="postbacks")
        try:
            self._waiting.put_nowait((self.url, body))
        except asyncio.QueueFull:
            self._lost += 1
            if self._lost == 1:
                _log.warning("postbacks are lost: the receiver does not keep up")

    async def _send(self) -> None:
        async with httpx.AsyncClient(timeout=POST_TIMEOUT_S, trust_env=False) as http:
            while True:
                url, body = await self._waiting.get()
                with suppress(httpx.HTTPError, httpx.InvalidURL):
                    await http.post(url, content=body, headers={"Content-Type": "application/json"})
