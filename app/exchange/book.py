"""The working orders and everything that can happen to one; each change is noted in the entry to be committed."""

from datetime import date, datetime
from decimal import Decimal

from app.core.matching import Match, match
from app.core.orders import OrderType, Validity
from app.exchange.accounts import Account
from app.exchange.charges import Charges
from app.exchange.exchange_time import exchange_day
from app.exchange.ledger import Entry
from app.exchange.orders import Happening, OrderHappening, OrderState, PaperOrder, PaperTrade
from app.exchange.prices import LastPrice, PriceBoard

LAPSED = "day order lapsed"


class Book:
    """Holds the working orders of all clients and changes them; the caller commits the entry."""

    def __init__(
        self,
        *,
        orders: list[PaperOrder],
        accounts: dict[str, Account],
        prices: PriceBoard,
        charges: Charges,
        last_rank: int,
        last_trade_id: int,
    ) -> None:
        self._orders = {order.order_id: order for order in orders}
        self._accounts = accounts
        self._prices = prices
        self._charges = charges
        self._last_rank = last_rank
        self._last_trade_id = last_trade_id

    def get(self, order_id: str) -> PaperOrder | None:
        """Return a working order, or None."""
        return self._orders.get(order_id)

    def accept(self, entry: Entry, order: PaperOrder) -> None:
        """Take a new order: it is held, or released by the caller at once."""
        self._orders[order.order_id] = order
        account = self._accounts[order.client_code]
        account.orders += 1
        entry.new_orders[order.order_id] = order
        _note(entry, order, Happening.ACCEPTED, order.updated_at)

    def held(self, run: str) -> list[PaperOrder]:
        """Return the orders that a step of this run releases, by tag: their order of arrival must say nothing."""
        waiting = [o for o in self._orders.values() if o.rank is None and (_is_new(o) or o.run == run)]
        return sorted(waiting, key=lambda order: (order.tag, order.number))

    def release(self, entry: Entry, order: PaperOrder, *, run: str, at: datetime) -> None:
        """Give a held order its place among the resting ones."""
        self._last_rank += 1
        order.rank, order.run = self._last_rank, run
        if _is_new(order):
            order.state, order.day, order.market_time = order.resting_state, exchange_day(at), at
        _change(entry, order, Happening.OPENED, at)

    def match(self, entry: Entry, key: str, *, run: str, at: datetime) -> None:
        """Match the resting orders of an instrument and run against its last price, best rank first."""
        last = self._prices.get(key)
        if last is None:
            return
        resting = [o for o in self._orders.values() if o.rank is not None and o.run == run and o.key == key]
        resting.sort(key=lambda order: order.rank or 0)
        self._match(entry, last, resting, at)

    def match_one(self, entry: Entry, order: PaperOrder, *, at: datetime) -> None:
        """Match one released order against the last price, if there is one."""
        last = self._prices.get(order.key)
        if last is not None:
            self._match(entry, last, [order], at)

    def end_unpriced(self, entry: Entry, order: PaperOrder, *, at: datetime) -> None:
        """End a released order that found no price: a market order without a fresh one, or an IOC."""
        last = self._prices.get(order.key)
        if order.order_type is OrderType.MARKET and (last is None or last.is_stale(at)):
            age = "there is no last price" if last is None else f"the last price is from {last.at.isoformat()}"
            self.reject(entry, order, f"stale price: {age}", at=at)
        elif order.validity is Validity.IOC:
            self.cancel(entry, order, "IOC found no price", at=at)

    def lapse(self, entry: Entry, *, today: date, closed: bool, run: str, at: datetime) -> None:
        """Cancel orders of earlier exchange days, and those of the present day and run when it has closed."""
        for order in list(self._orders.values()):
            over = closed and order.day == today and order.run == run and not _is_new(order)
            if order.day < today or over:
                self.cancel(entry, order, LAPSED, at=at)

    def reject(self, entry: Entry, order: PaperOrder, text: str, *, at: datetime) -> None:
        """End an order that may not trade."""
        order.text = text
        self._end(entry, order, OrderState.REJECTED, Happening.REJECTED, at)

    def cancel(self, entry: Entry, order: PaperOrder, text: str, *, at: datetime) -> None:
        """End an order for what has not traded."""
        order.text = text
        self._end(entry, order, OrderState.CANCELLED, Happening.CANCELLED, at)

    def modify(self, entry: Entry, order: PaperOrder, *, at: datetime) -> None:
        """Note new terms, already set on the order; it is held and released anew, behind the others."""
        order.modified, order.rank = True, None
        if not _is_new(order):
            order.state = order.resting_state
        _change(entry, order, Happening.MODIFIED, at)

    def complete(self, entry: Entry, order: PaperOrder, *, at: datetime) -> None:
        """End an order whose quantity, already set, was lowered to what has traded."""
        order.modified = True
        self._end(entry, order, OrderState.COMPLETE, Happening.MODIFIED, at)

    def _match(self, entry: Entry, last: LastPrice, orders: list[PaperOrder], at: datetime) -> None:
        result = match(last.price, last.available, [order.for_matching() for order in orders])
        for matched in result.matches:
            self._apply(entry, self._orders[matched.order_id], matched, at)
        if result.available != last.available:
            entry.prices[last.key] = self._prices.use(last.key, result.available)

    def _apply(self, entry: Entry, order: PaperOrder, matched: Match, at: datetime) -> None:
        if matched.triggered:
            order.triggered, order.state = True, OrderState.OPEN
            _change(entry, order, Happening.TRIGGERED, at)
        if matched.quantity:
            self._trade(entry, order, matched.quantity, matched.price, at)
            if order.filled == order.quantity:
                self._end(entry, order, OrderState.COMPLETE, Happening.TRADED, at)
            else:
                _change(entry, order, Happening.TRADED, at)
        if matched.cancelled:
            self.cancel(entry, order, "IOC remainder cancelled", at=at)

    def _trade(self, entry: Entry, order: PaperOrder, quantity: int, price: Decimal, at: datetime) -> None:
        self._last_trade_id += 1
        day = exchange_day(at)
        fees = self._charges.of_trade(
            product=order.product,
            side=order.side,
            day=day,
            traded_before=order.traded_value,
            value=price * quantity,
        )
        trade = PaperTrade(
            trade_id=self._last_trade_id,
            order_id=order.order_id,
            client_code=order.client_code,
            exchange=order.exchange,
            token=order.token,
            symbol=order.symbol,
            product=order.product,
            side=order.side,
            quantity=quantity,
            price=price,
            fees=fees,
            traded_at=at,
            day=day,
        )
        order.filled += quantity
        order.traded_value += trade.value
        account = self._accounts[order.client_code]
        account.book(trade)
        entry.accounts[account.client_code] = account
        entry.trades.append(trade)

    def _end(self, entry: Entry, order: PaperOrder, state: OrderState, happening: Happening, at: datetime) -> None:
        order.state = state
        del self._orders[order.order_id]
        self._accounts[order.client_code].terminal += 1
        _change(entry, order, happening, at)


def _is_new(order: PaperOrder) -> bool:
    return order.state is OrderState.OPEN_PENDING


def _change(entry: Entry, order: PaperOrder, happening: Happening, at: datetime) -> None:
    order.updated_at = at
    order.revision += 1
    if order.order_id not in entry.new_orders:
        entry.changed_orders[order.order_id] = order
    _note(entry, order, happening, at)


def _note(entry: Entry, order: PaperOrder, happening: Happening, at: datetime) -> None:
    entry.events.append(
        OrderHappening(
            order=order,
            happening=happening,
            state=order.state,
            filled=order.filled,
            traded_value=order.traded_value,
            text=order.text,
            at=at,
        )
    )
