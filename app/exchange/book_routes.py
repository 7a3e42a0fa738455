"""Reading orders, trades and positions over the wire. Empty lists are null, as they are there."""

from app.exchange.exchange_time import exchange_day
from app.exchange.faults import Op
from app.exchange.fields import Json
from app.exchange.market import Market, TagEcho
from app.exchange.session_routes import SECURE
from app.exchange.wire import Call, Endpoint, Wire, WireRefusal
from app.exchange.wire_rows import book_row, details_row, position_row, trade_row


class BookRoutes:
    """Handlers of the books of the present exchange day."""

    def __init__(self, market: Market) -> None:
        self._market = market

    def routes(self, wire: Wire) -> list[tuple[str, str, Endpoint]]:
        """Return method, path and endpoint of each."""
        return [
            ("GET", f"{SECURE}/order/v1/getOrderBook", wire.endpoint(Op.BOOKS, self.orders)),
            ("GET", f"{SECURE}/order/v1/details/{{unique_id}}", wire.endpoint(Op.BOOKS, self.details)),
            ("GET", f"{SECURE}/order/v1/getTradeBook", wire.endpoint(Op.BOOKS, self.trades)),
            ("GET", f"{SECURE}/order/v1/getPosition", wire.endpoint(Op.BOOKS, self.positions)),
        ]

    def orders(self, call: Call) -> Json:
        """Return the day's orders."""
        with_tag = self._market.tag_echo is TagEcho.BOOK
        orders = self._market.ledger.orders_of(call.client_code, exchange_day(self._market.now()))
        return [book_row(order, with_tag=with_tag) for order in orders] or None

    def details(self, call: Call) -> Json:
        """Return one order by its unique id."""
        order = self._market.ledger.order_by_unique_id(call.client_code, call.path["unique_id"])
        if order is None:
            raise WireRefusal("AB1013", "Order not found")
        return details_row(order, with_tag=self._market.tag_echo is not TagEcho.NONE)

    def trades(self, call: Call) -> Json:
        """Return the day's trades."""
        trades = self._market.ledger.trades_of(call.client_code, exchange_day(self._market.now()))
        return [trade_row(trade) for trade in trades] or None

    def positions(self, call: Call) -> Json:
        """Return what is open and what the day has traded."""
        today = exchange_day(self._market.now())
        lines = self._market.accounts[call.client_code].lines.values()
        for line in lines:
            if line.day < today:
                line.roll(today)
        return [position_row(line) for line in lines if line.position.quantity or line.bought or line.sold] or None
