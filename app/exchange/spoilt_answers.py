"""Answers that are lost, garbled or dressed otherwise. The request was taken: only the client cannot know it."""

import asyncio
import json

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from app.exchange.connections import abort, cut
from app.exchange.faults import FaultKind, Strike
from app.exchange.fields import Json

UNKNOWN_STATUSES = ("frozen by risk", "AMO parked", "ठहरा हुआ")
"""Status texts that no list of the wire's words holds."""

_HTML = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Checking your browser</body></html>"
_DEEP = b'{"status":true,"message":"SUCCESS","errorcode":"","data":' + b"[" * 20_000
_WRONG_DATA = b'{"status":true,"message":"SUCCESS","errorcode":"","data":"OK"}'
_WRONG_ENVELOPE = b'[{"status":"true"},17,null]'
_WRONG_STATUS = b'{"status":"yes","message":null,"errorcode":7,"data":[]}'
_DRIFTING = ("averageprice", "price", "triggerprice", "quantity", "filledshares", "unfilledshares", "fillprice")
"""Fields that the wire writes as text in one place and as numbers in another."""


async def spoil_answer(strike: Strike, request: Request, answer: Response) -> Response:
    """Lose or garble the answer to a request that was taken."""
    match strike.kind:
        case FaultKind.MALFORMED_BODY:
            return _garbled(strike.number, bytes(answer.body))
        case FaultKind.HTTP_5XX_AFTER_ACCEPT:
            return bad_gateway()
        case FaultKind.TIMEOUT_AFTER_ACCEPT:
            try:
                await asyncio.sleep(strike.delay_s)
            except asyncio.CancelledError:
                # The server stops: the answer stays lost, it does not become an error page.
                cut(request)
                raise
        case _:
            pass
    return await abort(request)


def bad_gateway() -> Response:
    """Return what a proxy says whose server does not answer."""
    return HTMLResponse("<html><head><title>502 Bad Gateway</title></head></html>", status_code=502)


def in_another_dress(answer: Response) -> Response:
    """Return the same answer with fields that nobody knows, and with numbers where there was text of numbers."""
    return _json(json.dumps(_redressed(json.loads(bytes(answer.body)))).encode())


def with_unknown_status(row: dict[str, Json], number: int) -> dict[str, Json]:
    """Return an order's row with a status text that nobody knows."""
    status = UNKNOWN_STATUSES[number % len(UNKNOWN_STATUSES)]
    return row | {"status": status, "orderstatus": status}


def _garbled(number: int, body: bytes) -> Response:
    variants = (body[: len(body) // 2], _HTML, b"", _WRONG_DATA, _WRONG_ENVELOPE, _WRONG_STATUS, _DEEP)
    garbled = variants[number % len(variants)]
    return HTMLResponse(garbled) if garbled is _HTML else _json(garbled)


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _redressed(value: Json) -> Json:
    if isinstance(value, list):
        return [_redressed(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    dressed: dict[str, Json] = {key: _redressed(entry) for key, entry in value.items()}
    for key in _DRIFTING:
        written = dressed.get(key)
        if isinstance(written, str) and written:
            dressed[key] = json.loads(written)
    return dressed | {"newsince2026": {"nested": [None, True, 1.5]}, "remark": "ठीक है"}
