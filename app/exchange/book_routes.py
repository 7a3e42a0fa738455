"""Reading orders, trades and positions over the wire. Empty lists are null, as they are there."""

from app.exchange.encoded_rows import FINAL, EncodedRows
from app.exchange.exchange_time import exchange_day
from app.exchange.faults import Op
from app.exchange.fields import Json
from app.exchange.ledger import LedgerFailed
from app.exchange.market import Market, TagEcho
from app.exchange.session_routes import SECURE
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
            ("GET", f"{SECURE}/order/v1/getOrderBook", wire.endpoint(Op.BOOKS, self.orders)),
            ("GET", f"{SECURE}/order/v1/details/{{unique_id}}", wire.endpoint(Op.BOOKS, self.details)),
            ("GET", f"{SECURE}/order/v1/getTradeBook", wire.endpoint(Op.BOOKS, self.trades)),
            ("GET", f"{SECURE}/order/v1/getPosition", wire.endpoint(Op.BOOKS, self.positions)),
        ]

    def orders(self, call: Call) -> Json | JsonText:
        """Return the day's orders."""
        with_tag = self._market.tag_echo is TagEcho.BOOK
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
        return _array(texts)

    def details(self, call: Call) -> Json:
        """Return one order by its unique id."""
        order = self._market.ledger.order_by_unique_id(call.client_code, call.path["unique_id"])
        if order is None:
            raise WireRefusal("AB1013", "Order not found")
        return details_row(order, with_tag=self._market.tag_echo is not TagEcho.NONE)

    def trades(self, call: Call) -> Json | JsonText:
        """Return the day's trades."""
        ledger = self._market.ledger
        texts: list[str] = []
        for trade_id in ledger.trade_ids_of(call.client_code, exchange_day(self._market.now())):
            row_id = str(trade_id)
            text = self._trade_rows.get(row_id, FINAL)
            if text is None:
                text = self._trade_rows.encode(row_id, FINAL, trade_row(ledger.trade(trade_id)))
            texts.append(text)
        return _array(texts)

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
