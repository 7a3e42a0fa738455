"""The wire's envelopes and dialects, and the one way in which every request is handled."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from app.core.errors import SaudaError
from app.exchange.connections import abort
from app.exchange.faults import SWALLOWS_ANSWER, FaultKind, Faults, Op, Strike
from app.exchange.fields import BadField, Json, parse_object
from app.exchange.market import Market
from app.exchange.sessions import Session, Sessions
from app.exchange.spoilt_answers import bad_gateway, in_another_dress, spoil_answer

BODY_BYTES_MAX = 64 * 1024
THROTTLED_TEXT = "Access denied because of exceeding access rate"
UNREADABLE = "AB1004"
"""The wire's word for a request that it cannot make sense of."""


class WireRefusal(SaudaError):
    """A refusal in the ordinary dialect: HTTP 200, `status` false and a code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class GatewayRefusal(SaudaError):
    """A refusal in the gateway's dialect: HTTP 200, `success` false and `errorCode`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class RequestTooLarge(SaudaError):
    """The body is longer than anything that the wire knows."""

    code = "request_too_large"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request as its handler sees it. `received_at` is wall time; `session` is None only before login.

    `acknowledged` is false when a fault will swallow the answer; `strike` is a fault that the handler itself commits.
    """

    body: dict[str, Json]
    path: Mapping[str, str]
    authorization: str
    api_key: str
    session: Session | None
    received_at: datetime
    acknowledged: bool
    strike: Strike | None = None

    @property
    def client_code(self) -> str:
        """The client who is logged in."""
        if self.session is None:
            raise GatewayRefusal("AG8003", "Token missing")
        return self.session.client_code


@dataclass(frozen=True, slots=True)
class JsonText:
    """Data that is JSON text already."""

    text: str


type Handler = Callable[[Call], Json | JsonText]
type Endpoint = Callable[[Request], Awaitable[Response]]


class Wire:
    """Turns handlers, which take a call and return `data`, into HTTP endpoints."""

    def __init__(self, market: Market, sessions: Sessions, faults: Faults) -> None:
        self._market = market
        self._sessions = sessions
        self._faults = faults

    def endpoint(self, op: Op, handler: Handler, *, open_to_all: bool = False) -> Endpoint:
        """Return an endpoint that authenticates (unless open to all), handles, and answers in the wire's dialects."""

        async def answer(request: Request) -> Response:
            try:
                body = await read_body(request, BODY_BYTES_MAX)
            except RequestTooLarge:
                return PlainTextResponse("Request Entity Too Large", status_code=413)
            except ClientDisconnect:
                return Response()
            received_at = self._market.clock.now()
            strike = self._faults.for_request(op)
            if strike is not None:
                spoilt = await self._spoil_before(strike, request, received_at)
                if spoilt is not None:
                    return spoilt
            response = self._handle(handler, request, body, received_at, open_to_all=open_to_all, strike=strike)
            if strike is not None and strike.kind in SWALLOWS_ANSWER:
                return await spoil_answer(strike, request, response)
            if strike is not None and strike.kind is FaultKind.ODD_BODY:
                return in_another_dress(response)
            return response

        return answer

    def now(self) -> datetime:
        """Return wall time, by which sessions live."""
        return self._market.clock.now()

    def authenticate(self, authorization: str, now: datetime) -> Session:
        """Return the living session of an Authorization header; raises `GatewayRefusal`."""
        if not authorization:
            raise GatewayRefusal("AG8003", "Token missing")
        session = self._sessions.by_access_token(authorization.removeprefix("Bearer ").strip())
        if session is None:
            raise GatewayRefusal("AG8001", "Invalid Token")
        if session.access_expires_at <= now:
            raise GatewayRefusal("AG8002", "Token Expired")
        return session

    def _enter(self, authorization: str, api_key: str, now: datetime) -> Session:
        session = self.authenticate(authorization, now)
        if api_key != self._market.accounts[session.client_code].api_key:
            raise GatewayRefusal("AG8004", "Invalid API Key")
        return session

    def _handle(
        self,
        handler: Handler,
        request: Request,
        body: bytes,
        received_at: datetime,
        *,
        open_to_all: bool,
        strike: Strike | None,
    ) -> Response:
        authorization = request.headers.get("authorization", "")
        api_key = request.headers.get("x-privatekey", "")
        try:
            session = None if open_to_all else self._enter(authorization, api_key, received_at)
            call = Call(
                body=parse_object(body) if body else {},
                path=request.path_params,
                authorization=authorization,
                api_key=api_key,
                session=session,
                received_at=received_at,
                acknowledged=strike is None or strike.kind not in SWALLOWS_ANSWER,
                strike=strike,
            )
            return success(handler(call))
        except GatewayRefusal as refusal:
            return gateway_failure(refusal)
        except WireRefusal as refusal:
            return failure(refusal)
        except BadField as bad:
            return failure(WireRefusal(UNREADABLE, str(bad)))

    async def _spoil_before(self, strike: Strike, request: Request, now: datetime) -> Response | None:
        """Do what comes before the request is taken; None lets it be taken."""
        match strike.kind:
            case FaultKind.LATENCY:
                await asyncio.sleep(strike.delay_s)
            case FaultKind.HTTP_5XX:
                return bad_gateway()
            case FaultKind.THROTTLE_403:
                return PlainTextResponse(THROTTLED_TEXT, status_code=403)
            case FaultKind.DROP_BEFORE_ACCEPT:
                return await abort(request)
            case FaultKind.TOKEN_EXPIRED:
                token = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
                session = self._sessions.by_access_token(token)
                if session is not None:
                    self._sessions.expire(session, now)
                return gateway_failure(GatewayRefusal("AG8002", "Token Expired"))
            case _:
                pass
        return None


async def read_body(request: Request, longest: int) -> bytes:
    """Read a body of at most `longest` bytes; raises `RequestTooLarge`."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > longest:
            raise RequestTooLarge(f"more than {longest} bytes")
        parts.append(part)
    return b"".join(parts)


def json_response(content: object, status_code: int = 200) -> Response:
    """Return compact JSON."""
    body = json.dumps(content, separators=(",", ":")).encode()
    return Response(body, status_code=status_code, media_type="application/json")


def success(data: Json | JsonText) -> Response:
    """Return the ordinary envelope of a success."""
    if isinstance(data, JsonText):
        body = f'{{"status":true,"message":"SUCCESS","errorcode":"","data":{data.text}}}'
        return Response(body, media_type="application/json")
    return json_response({"status": True, "message": "SUCCESS", "errorcode": "", "data": data})


def failure(refusal: WireRefusal) -> Response:
    """Return the ordinary envelope of a failure."""
    return json_response({"status": False, "message": refusal.message, "errorcode": refusal.code, "data": None})


def gateway_failure(refusal: GatewayRefusal) -> Response:
    """Return the gateway's envelope of a failure, which has other keys."""
    return json_response({"success": False, "message": refusal.message, "errorCode": refusal.code, "data": ""})
