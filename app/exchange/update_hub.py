"""Order updates: who listens, and what each is told, in the wire's frames."""

import asyncio
import json
from dataclasses import dataclass, field

from app.exchange.faults import FaultKind, Faults, Op, Strike
from app.exchange.fields import Json
from app.exchange.market import Market, TagEcho
from app.exchange.orders import TERMINAL_STATES, Happening, OrderHappening, OrderState
from app.exchange.spoilt_answers import with_unknown_status
from app.exchange.wire_rows import update_row

CONNECTIONS_PER_CLIENT_MAX = 3
FRAMES_WAITING_MAX = 10_000
"""A listener further behind than this is cut off, so that it sees a gap instead of exhausting our memory."""

HELD_FOR_S = 1.0
"""How long a frame that is to come out of order waits for one that may go before it."""

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
_UNKNOWN_CODE = "AB99"
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

    held: list[str] = field(default_factory=list)

    def put(self, frame: str) -> None:
        """Let a frame wait to be sent, and after it those that were held; one too many ends the connection."""
        frames, self.held = [frame, *self.held], []
        try:
            for waiting in frames:
                self.frames.put_nowait(waiting)
        except asyncio.QueueFull:
            self.closing.set()

    def hold(self, frame: str) -> None:
        """Keep a frame until a later one has gone before it, or until none has come for a while."""
        self.held.append(frame)
        asyncio.get_running_loop().call_later(HELD_FOR_S, self._release)

    def _release(self) -> None:
        if self.held:
            self.put(self.held.pop(0))


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
                self._tell(listeners, event)

    def _tell(self, listeners: set[Listener], event: OrderHappening) -> None:
        strike = self._faults.for_frame(Op.SOCKET, is_fill=event.happening is Happening.TRADED)
        kind = strike.kind if strike else None
        if kind in (FaultKind.DROP_UPDATE, FaultKind.DROP_FILL_UPDATE):
            return
        frame = self._frame_of(event, strike)
        for listener in listeners:
            if strike is not None and kind is FaultKind.DELAY_UPDATE:
                asyncio.get_running_loop().call_later(strike.delay_s, listener.put, frame)
            elif kind is FaultKind.REORDER_UPDATE:
                listener.hold(frame)
            else:
                listener.put(frame)
                if kind is FaultKind.DUPLICATE_UPDATE:
                    listener.put(frame)

    def _frame_of(self, event: OrderHappening, strike: Strike | None) -> str:
        changed = event.happening is Happening.MODIFIED and event.state not in TERMINAL_STATES
        code = _MODIFIED if changed else _CODES[event.state]
        with_tag = self._market.tag_echo is not TagEcho.NONE
        row = update_row(event, with_tag=with_tag)
        if strike is not None and strike.kind is FaultKind.UNKNOWN_STATUS:
            row, code = with_unknown_status(row, strike.number), _UNKNOWN_CODE
        return _frame(event.order.client_code, code, row)


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
