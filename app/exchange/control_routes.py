"""The control endpoints: accounts, mode, prices, steps, faults and the ledger's testimony.

They exist only where a control key is configured, and without the key they do not seem to exist at all.
"""

import hmac
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from app.core.errors import SaudaError
from app.exchange.control_requests import (
    read_account,
    read_faults,
    read_offset_ms,
    read_postback_url,
    read_prints,
    read_step,
)
from app.exchange.faults import Faults
from app.exchange.fields import BadField, Json, choice, parse_object
from app.exchange.lockstep import StepConflict, take_step
from app.exchange.market import AccountConflict, Market, Mode, TagEcho
from app.exchange.postbacks import Postbacks
from app.exchange.wire import Endpoint, RequestTooLarge, json_response, read_body
from app.exchange.witness import summarise, testify

CONTROL_BODY_BYTES_MAX = 4 * 1024 * 1024

_STATUS: dict[type[SaudaError], int] = {RequestTooLarge: 413, BadField: 422, AccountConflict: 409, StepConflict: 409}

type ControlHandler = Callable[[dict[str, Json], str], Json | Response]


class ControlRoutes:
    """Handlers of the control endpoints; each takes the body and the client code of the path, if it has one."""

    def __init__(self, market: Market, faults: Faults, postbacks: Postbacks, control_key: str) -> None:
        self._market = market
        self._faults = faults
        self._postbacks = postbacks
        self._control_key = control_key.encode()

    def routes(self) -> list[tuple[str, str, Endpoint]]:
        """Return method, path and endpoint of each."""
        handlers: list[tuple[str, str, ControlHandler]] = [
            ("POST", "/control/accounts", self.add_account),
            ("POST", "/control/mode", self.set_mode),
            ("POST", "/control/prices", self.print_prices),
            ("POST", "/control/step", self.step),
            ("POST", "/control/tag-echo", self.set_tag_echo),
            ("POST", "/control/clock", self.set_clock),
            ("POST", "/control/postback", self.set_postback),
            ("GET", "/control/faults", self.faults),
            ("PUT", "/control/faults", self.set_faults),
            ("GET", "/control/ledger/{client_code}", self.testimony),
            ("GET", "/control/ledger/{client_code}/summary", self.summary),
        ]
        return [(method, path, self._endpoint(handler)) for method, path, handler in handlers]

    def add_account(self, body: dict[str, Json], _client: str) -> Json:
        """Open an account; the same values again change nothing."""
        account = read_account(body)
        created = self._market.add_account(account)
        return {"client_code": account.client_code, "created": created}

    def set_mode(self, body: dict[str, Json], _client: str) -> Json:
        """Change between free and lockstep."""
        self._market.set_mode(choice(body, "mode", Mode))
        return {"mode": self._market.mode}

    def print_prices(self, body: dict[str, Json], _client: str) -> Json:
        """Print prices in free mode."""
        if self._market.mode is not Mode.FREE:
            raise StepConflict("in lockstep mode prices come with steps")
        self._market.print_prices(read_prints(body, self._market.instruments))
        return {"time": self._market.now().isoformat()}

    def step(self, body: dict[str, Json], _client: str) -> Response:
        """Take a step in lockstep mode."""
        answer = take_step(self._market, read_step(body, self._market.instruments))
        return Response(answer, media_type="application/json")

    def set_tag_echo(self, body: dict[str, Json], _client: str) -> Json:
        """Change where order tags are given back."""
        self._market.set_tag_echo(choice(body, "mode", TagEcho))
        return {"mode": self._market.tag_echo}

    def set_clock(self, body: dict[str, Json], _client: str) -> Json:
        """Set the exchange's clock off the machine's."""
        self._market.set_clock(read_offset_ms(body))
        return {"offset_ms": self._market.clock.offset_ms, "time": self._market.clock.now().isoformat()}

    def set_postback(self, body: dict[str, Json], _client: str) -> Json:
        """Send postbacks to an address from now on; an empty one ends them."""
        self._postbacks.url = read_postback_url(body)
        return {"url": self._postbacks.url}

    def faults(self, _body: dict[str, Json], _client: str) -> Json:
        """Return the fault rules and how often each has fired."""
        rules: list[Json] = [
            {
                "kind": rule.kind,
                "probability": rule.probability,
                "ops": [*sorted(rule.ops)],
                "delay_ms": rule.delay_ms,
                "duration_ms": rule.duration_ms,
                "limit": rule.limit,
                "fired": rule.fired,
            }
            for rule in self._faults.rules
        ]
        return {"seed": self._faults.seed, "rules": rules}

    def set_faults(self, body: dict[str, Json], client: str) -> Json:
        """Replace the fault rules."""
        seed, rules = read_faults(body)
        self._faults.configure(seed, rules)
        return self.faults({}, client)

    def testimony(self, _body: dict[str, Json], client: str) -> Json:
        """Return all that the ledger holds about a client."""
        return testify(self._market.ledger, self._market.accounts[client])

    def summary(self, _body: dict[str, Json], client: str) -> Json:
        """Return counts and sums of a client."""
        return summarise(self._market.ledger, self._market.accounts[client])

    def _endpoint(self, handler: ControlHandler) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            if not hmac.compare_digest(request.headers.get("x-control-key", "").encode(), self._control_key):
                return PlainTextResponse("Not Found", status_code=404)
            client = request.path_params.get("client_code", "")
            if client and client not in self._market.accounts:
                return _problem(404, "no_such_client", f"there is no account {client}")
            try:
                body = await read_body(request, CONTROL_BODY_BYTES_MAX)
                content = handler(parse_object(body) if body else {}, client)
            except (RequestTooLarge, BadField, AccountConflict, StepConflict) as error:
                return _problem(_STATUS[type(error)], error.code, str(error))
            except ClientDisconnect:
                return Response()
            return content if isinstance(content, Response) else json_response(content)

        return answer


def _problem(status: int, code: str, message: str) -> Response:
    return json_response({"code": code, "message": message}, status_code=status)
