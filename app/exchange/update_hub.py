"""Order updates: who listens, and what each is told, in the wire's frames."""

import asyncio
import json
from dataclasses import dataclass, field

from app.exchange.faults import FaultKind, Faults, Op
from app.exchange.fields import Json
from app.exchange.market import Market, TagEcho
from app.exchange.orders import Happening, OrderHappening, OrderState
from app.exchange.wire_rows import update_row

CONNECTIONS_PER_CLIENT_MAX = 3
FRAMES_WAITING_MAX = 10_000
"""A listener further behind than this is cut off, so that it sees a gap instead of exhausting our memory."""

_CODES = {
    OrderState.OPEN_PENDING: "AB09",
    OrderState.OPEN: "AB01",
    OrderState.TRIGGER_PENDING: "AB10",
    OrderState.COMPLETE: "AB05",
    OrderState.CANCELLED: "AB02",
    OrderState.REJECTED: "AB03",
}
_GREETING = "AB00"
_MODIFIED = "AB04"
_BLANK: dict[str, Json] = {
    "variety": "",
    "ordertype": "",
    "ordertag": "",
    "producttype": "",
    "price": 0,
    "triggerprice": 0,
    "quantity": "",
    "disclosedquantity": "",
    "duration": "",
    "squareoff": 0,
    "stoploss": 0,
    "trailingstoploss": 0,
    "tradingsymbol": "",
    "transactiontype": "",
    "exchange": "",
    "symboltoken": "",
    "instrumenttype": "",
    "strikeprice": 0,
    "optiontype": "",
    "expirydate": "",
    "lotsize": "",
    "cancelsize": "",
    "averageprice": 0,
    "filledshares": "",
    "unfilledshares": "",
    "orderid": "",
    "text": "",
    "status": "",
    "orderstatus": "",
    "updatetime": "",
    "exchtime": "",
    "exchorderupdatetime": "",
    "fillid": "",
    "filltime": "",
    "parentorderid": "",
    "uniqueorderid": "",
    "exchangeorderid": "",
}


@dataclass(slots=True, eq=False)
class Listener:
    """One connection of a client; setting `closing` ends it."""

    client_code: str
    access_token: str
    frames: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(FRAMES_WAITING_MAX))
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, frame: str) -> None:
        """Let a frame wait to be sent; one too many ends the connection."""
        try:
            self.frames.put_nowait(frame)
        except asyncio.QueueFull:
            self.closing.set()


class UpdateHub:
    """Hands each event of an order to the listeners of its client."""

    def __init__(self, market: Market, faults: Faults) -> None:
        self._market = market
        self._faults = faults
        self._listeners: dict[str, set[Listener]] = {}
        market.listeners.append(self.publish)

    def join(self, client_code: str, access_token: str) -> Listener | None:
        """Add a listener and greet it; None when the client has too many."""
        own = self._listeners.setdefault(client_code, set())
        if len(own) >= CONNECTIONS_PER_CLIENT_MAX:
            return None
        listener = Listener(client_code, access_token)
        listener.put(_frame(client_code, _GREETING, {}))
        own.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Forget a listener."""
        own = self._listeners.get(listener.client_code, set())
        own.discard(listener)
        if not own:
            self._listeners.pop(listener.client_code, None)

    def close_session(self, access_token: str) -> None:
        """Close the connections that were opened with a token."""
        for listeners in self._listeners.values():
            for listener in listeners:
                if listener.access_token == access_token:
                    listener.closing.set()

    def publish(self, events: list[OrderHappening]) -> None:
        """Tell listeners of committed events; frames of clients without any are not even made."""
        for event in events:
            listeners = self._listeners.get(event.order.client_code)
            if listeners:
                self._tell(listeners, self._frame_of(event))

    def _tell(self, listeners: set[Listener], frame: str) -> None:
        rule = self._faults.for_frame(Op.SOCKET)
        kind = rule.kind if rule else None
        if kind is FaultKind.DROP_UPDATE:
            return
        for listener in listeners:
            if rule is not None and kind is FaultKind.DELAY_UPDATE:
                asyncio.get_running_loop().call_later(rule.delay_s, listener.put, frame)
                continue
            listener.put(frame)
            if kind is FaultKind.DUPLICATE_UPDATE:
                listener.put(frame)

    def _frame_of(self, event: OrderHappening) -> str:
        code = _MODIFIED if event.happening is Happening.MODIFIED else _CODES[event.state]
        with_tag = self._market.tag_echo is not TagEcho.NONE
        return _frame(event.order.client_code, code, update_row(event, with_tag=with_tag))


def _frame(client_code: str, code: str, order_data: dict[str, Json]) -> str:
    return json.dumps(
        {
            "user-id": client_code,
            "status-code": "200",
            "order-status": code,
            "error-message": "",
            "orderData": order_data or _BLANK,
        },
        separators=(",", ":"),
    )
