"""Reading orders, trades and positions over the wire. Empty lists are null, as they are there."""

import json
from datetime import datetime, timedelta

from app.exchange.encoded_rows import FINAL, EncodedRows
from app.exchange.exchange_time import exchange_day
from app.exchange.faults import FaultKind, Op
from app.exchange.fields import Json
from app.exchange.ledger import LedgerFailed
from app.exchange.market import Market, TagEcho
from app.exchange.orders import PaperOrder
from app.exchange.session_routes import SECURE
from app.exchange.spoilt_answers import with_unknown_status
from app.exchange.wire import Call, Endpoint, JsonText, Wire, WireRefusal
from app.exchange.wire_rows import book_row, details_row, position_row, trade_row


class BookRoutes:
    """Handlers of the books of the present exchange day."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._order_rows, self._trade_rows = EncodedRows(), EncodedRows()
        self._rows_have_tags = True

    def routes(self, wire: Wire) -> list[tuple[str, str, Endpoint]]:
        """Return method, path and endpoint of each."""
        return [
            ("GET", f"{SECURE}/order/v1/getOrderBook", wire.endpoint(Op.ORDER_BOOK, self.orders)),
            ("GET", f"{SECURE}/order/v1/details/{{unique_id}}", wire.endpoint(Op.ORDER_DETAILS, self.details)),
            ("GET", f"{SECURE}/order/v1/getTradeBook", wire.endpoint(Op.TRADE_BOOK, self.trades)),
            ("GET", f"{SECURE}/order/v1/getPosition", wire.endpoint(Op.POSITIONS, self.positions)),
        ]

    def orders(self, call: Call) -> Json | JsonText:
        """Return the day's orders."""
        with_tag = self._market.tag_echo is TagEcho.BOOK
        if call.strike is not None and call.strike.kind is FaultKind.LAGGING_BOOK:
            return [book_row(order, with_tag=with_tag) for order in self._orders_as_of(call)] or None
        if with_tag is not self._rows_have_tags:
            self._order_rows.clear()
            self._rows_have_tags = with_tag
        ledger = self._market.ledger
        texts: list[str] = []
        for order_id in ledger.order_ids_of(call.client_code, exchange_day(self._market.now())):
            working = self._market.book.get(order_id)
            revision = working.revision if working else FINAL
            text = self._order_rows.get(order_id, revision)
            if text is None:
                order = working or ledger.order_by_id(call.client_code, order_id)
                if order is None:
                    raise LedgerFailed(f"order {order_id} is listed and cannot be read")
                text = self._order_rows.encode(order_id, revision, book_row(order, with_tag=with_tag))
            texts.append(text)
        if texts and call.strike is not None and call.strike.kind is FaultKind.UNKNOWN_STATUS:
            chosen = call.strike.number % len(texts)
            texts[chosen] = json.dumps(with_unknown_status(json.loads(texts[chosen]), call.strike.number))
        return _array(texts)

    def details(self, call: Call) -> Json:
        """Return one order by its unique id."""
        order = self._market.ledger.order_by_unique_id(call.client_code, call.path["unique_id"])
        if order is None:
            raise WireRefusal("AB1013", "Order not found")
        row = details_row(order, with_tag=self._market.tag_echo is not TagEcho.NONE)
        if call.strike is not None and call.strike.kind is FaultKind.UNKNOWN_STATUS:
            return with_unknown_status(row, call.strike.number)
        return row

    def trades(self, call: Call) -> Json | JsonText:
        """Return the day's trades."""
        ledger = self._market.ledger
        texts: list[str] = []
        told_until = self._told_until(call)
        for trade_id in ledger.trade_ids_of(call.client_code, exchange_day(self._market.now())):
            row_id = str(trade_id)
            text = self._trade_rows.get(row_id, FINAL)
            if told_until is not None and ledger.trade(trade_id).traded_at > told_until:
                continue
            if text is None:
                text = self._trade_rows.encode(row_id, FINAL, trade_row(ledger.trade(trade_id)))
            texts.append(text)
        return _array(texts)

    def _told_until(self, call: Call) -> datetime | None:
        strike = call.strike
        if strike is None or strike.kind is not FaultKind.LAGGING_BOOK:
            return None
        return self._market.now() - timedelta(milliseconds=strike.delay_ms)

    def _orders_as_of(self, call: Call) -> list[PaperOrder]:
        """Return the day's orders as they stood when the lag began: later ones are missing, later changes too."""
        until, ledger = self._told_until(call), self._market.ledger
        rows: list[PaperOrder] = []
        for order_id in ledger.order_ids_of(call.client_code, exchange_day(self._market.now())):
            order = self._market.book.get(order_id) or ledger.order_by_id(call.client_code, order_id)
            if order is not None and until is not None and order.market_time <= until:
                rows.append(ledger.order_as_of(order, until) if order.updated_at > until else order)
        return rows

    def positions(self, call: Call) -> Json:
        """Return what is open and what the day has traded."""
        today = exchange_day(self._market.now())
        lines = self._market.accounts[call.client_code].lines.values()
        for line in lines:
            if line.day < today:
                line.roll(today)
        return [position_row(line) for line in lines if line.position.quantity or line.bought or line.sold] or None


def _array(texts: list[str]) -> JsonText | None:
    return JsonText(f"[{','.join(texts)}]") if texts else None
