"""The order-update socket: who may open it, and its two directions."""

import asyncio
from contextlib import suppress

from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.exchange.faults import FaultKind, Faults, Op
from app.exchange.update_hub import Listener, UpdateHub
from app.exchange.wire import THROTTLED_TEXT, GatewayRefusal, Wire

UPDATE_PATH = "/smart-order-update"
_UPGRADE_STATUS = {"AG8002": 403}
_SERVICE_RESTART = 1012


class UpdateSocket:
    """Serves one connection after another of the update hub."""

    def __init__(self, wire: Wire, hub: UpdateHub, faults: Faults) -> None:
        self._wire = wire
        self._hub = hub
        self._faults = faults

    async def serve(self, socket: WebSocket) -> None:
        """Refuse the upgrade as the wire does, or stream updates until either side closes."""
        spoilt = await self._spoil()
        if spoilt is not None:
            await socket.send_denial_response(spoilt)
            return
        try:
            session = self._wire.authenticate(socket.headers.get("authorization", ""), self._wire.now())
        except GatewayRefusal as refusal:
            status = _UPGRADE_STATUS.get(refusal.code, 401)
            denial = PlainTextResponse("", status_code=status, headers={"x-error-message": refusal.message})
            await socket.send_denial_response(denial)
            return
        listener = self._hub.join(session.client_code, session.access_token)
        if listener is None:
            await socket.send_denial_response(PlainTextResponse("", status_code=429))
            return
        try:
            await socket.accept()
            await _stream(socket, listener)
        finally:
            self._hub.leave(listener)

    async def _spoil(self) -> Response | None:
        strike = self._faults.for_request(Op.SOCKET)
        match strike.kind if strike else None:
            case FaultKind.TOKEN_EXPIRED:
                return PlainTextResponse("", status_code=403)
            case FaultKind.THROTTLE_403:
                return PlainTextResponse(THROTTLED_TEXT, status_code=403)
            case FaultKind.HTTP_5XX | FaultKind.DROP_BEFORE_ACCEPT:
                return HTMLResponse("", status_code=502)
            case FaultKind.LATENCY if strike:
                await asyncio.sleep(strike.delay_s)
            case _:
                pass
        return None


async def _stream(socket: WebSocket, listener: Listener) -> None:
    """Run both directions until one of them ends, and end the other."""
    tasks = {
        asyncio.create_task(_send_frames(socket, listener), name="order-updates-out"),
        asyncio.create_task(_answer_pings(socket), name="order-updates-in"),
        asyncio.create_task(listener.closing.wait(), name="order-updates-closing"),
    }
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if listener.closing.is_set():
        with suppress(RuntimeError, WebSocketDisconnect):
            await socket.close(_SERVICE_RESTART)


async def _send_frames(socket: WebSocket, listener: Listener) -> None:
    while True:
        await socket.send_text(await listener.frames.get())


async def _answer_pings(socket: WebSocket) -> None:
    while True:
        if await socket.receive_text() == "ping":
            await socket.send_text("pong")
