"""The rows of SmartAPI's books. One row that cannot be understood makes the whole read unreadable.

An order that somebody made elsewhere may use words that we never send. Such a word in a field that we can do without
is None; one that leaves us without the order's market or side makes the row strange, and is told beside the others.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from app.brokers.angelone.requests import DURATIONS, ORDER_TYPES, PRODUCTS
from app.brokers.angelone.values import (
    Malformed,
    clock_time,
    count,
    identifier,
    in_utc,
    mapping,
    number,
    one_line,
    optional_identifier,
    optional_moment,
    optional_price,
    price,
    rows,
    text,
    whole,
)
from app.core.instruments import Exchange
from app.core.orders import Product, Side
from app.core.ports import (
    BrokerOrder,
    BrokerOrderState,
    BrokerPosition,
    BrokerTrade,
    Funds,
    OrderBook,
    StrangeRow,
)

_PRODUCTS_BY_NAME = {name: product for product, name in PRODUCTS.items()}
_TYPES_BY_NAME = {name: order_type for order_type, name in ORDER_TYPES.items()}
_VALIDITIES_BY_NAME = {name: validity for validity, name in DURATIONS.items()}

STATES = {
    "validation pending": BrokerOrderState.WORKING,
    "open pending": BrokerOrderState.WORKING,
    "pending": BrokerOrderState.WORKING,
    "after market order req received": BrokerOrderState.WORKING,
    "modify after market order req received": BrokerOrderState.WORKING,
    "open": BrokerOrderState.WORKING,
    "trigger pending": BrokerOrderState.WORKING,
    "modify pending": BrokerOrderState.WORKING,
    "modified": BrokerOrderState.WORKING,
    "complete": BrokerOrderState.COMPLETE,
    "cancelled": BrokerOrderState.CANCELLED,
    "cancelled after market order": BrokerOrderState.CANCELLED,
    "rejected": BrokerOrderState.REJECTED,
}


def order_state(status: str) -> BrokerOrderState:
    """Return what a status text means; a text that no source lists is UNRECOGNISED, never a guess."""
    return STATES.get(" ".join(status.lower().split()), BrokerOrderState.UNRECOGNISED)


class StrangeWord(Malformed):
    """A word that is well-formed, but that no market or side of ours has."""


def parse_orders(data: object) -> OrderBook:
    """Return the rows of an order book; raises `Malformed`."""
    orders: list[BrokerOrder] = []
    strange: list[StrangeRow] = []
    for row in rows(data, "order book"):
        try:
            orders.append(parse_order(row))
        except StrangeWord as error:
            strange.append(StrangeRow(broker_order_id=identifier(row, "orderid"), problem=str(error)))
    return OrderBook(orders, strange=strange)


def parse_order(row: Mapping[str, object], *, status_fallback: str = "") -> BrokerOrder:
    """Return one order of the book, the details or the stream; raises `Malformed`, for a strange row `StrangeWord`.

    `orderstatus` goes before `status`: a changed stop order can show `modified` in the one and `trigger pending` in
    the other, and the first is where it stands.
    """
    raw_status = text(row, "orderstatus") or text(row, "status") or status_fallback
    filled = count(row, "filledshares")
    return BrokerOrder(
        broker_order_id=identifier(row, "orderid"),
        broker_unique_id=optional_identifier(row, "uniqueorderid"),
        tag=optional_identifier(row, "ordertag"),
        exchange=_exchange(row),
        trading_symbol=identifier(row, "tradingsymbol"),
        side=_side(row),
        quantity=count(row, "quantity"),
        filled_quantity=filled,
        average_price=_average_price(row, filled),
        state=order_state(raw_status),
        raw_status=raw_status,
        text=text(row, "text"),
        token=optional_identifier(row, "symboltoken"),
        order_type=_TYPES_BY_NAME.get(str(row.get("ordertype"))),
        product=_PRODUCTS_BY_NAME.get(str(row.get("producttype"))),
        validity=_VALIDITIES_BY_NAME.get(str(row.get("duration"))),
        price=optional_price(row, "price"),
        trigger_price=optional_price(row, "triggerprice"),
        updated_at=optional_moment(row, "updatetime") or optional_moment(row, "exchorderupdatetime"),
    )


def parse_details(data: object, broker_unique_id: str) -> BrokerOrder:
    """Return the order of a details call, once it is the one asked for; raises `Malformed`."""
    order = parse_order(mapping(data, "details"))
    if order.broker_unique_id != broker_unique_id:
        raise Malformed("details are of another order")
    return order


class TradeBook:
    """Reads one account's trade books. They only grow: a row that stood in the last one is not parsed anew."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Mapping[str, object], BrokerTrade]] = {}

    def parse(self, data: object, trade_date: date) -> list[BrokerTrade]:
        """Return the rows, whose times are of the given day; raises `Malformed`."""
        read: dict[str, tuple[Mapping[str, object], BrokerTrade]] = {}
        trades = []
        for row in rows(data, "trade book"):
            key = f"{row.get('orderid')}/{row.get('fillid')}"
            known = self._last.get(key)
            # The same to the letter, and of the same day: only then is it the same trade.
            same = known is not None and known[0] == row and known[1].trade_date == trade_date
            trade = known[1] if known is not None and same else _trade(row, trade_date)
            read[key] = (row, trade)
            trades.append(trade)
        self._last = read
        return trades


def parse_positions(data: object) -> list[BrokerPosition]:
    """Return the rows of the positions; raises `Malformed`."""
    return [_position(row) for row in rows(data, "positions")]


def parse_funds(data: object) -> Funds:
    """Return the account's cash; raises `Malformed`."""
    limits = mapping(data, "funds")
    return Funds(available=number(limits, "availablecash"), net=number(limits, "net"))


def _trade(row: Mapping[str, object], trade_date: date) -> BrokerTrade:
    quantity = count(row, "fillsize")
    if quantity == 0:
        raise Malformed("fillsize is zero")
    return BrokerTrade(
        broker_order_id=identifier(row, "orderid"),
        trade_id=identifier(row, "fillid"),
        exchange=_exchange(row),
        trading_symbol=identifier(row, "tradingsymbol"),
        side=_side(row),
        quantity=quantity,
        price=price(row, "fillprice"),
        traded_at=in_utc(trade_date, clock_time(row.get("filltime"), "filltime"), "filltime"),
        trade_date=trade_date,
    )


def _position(row: Mapping[str, object]) -> BrokerPosition:
    return BrokerPosition(
        exchange=_exchange(row),
        trading_symbol=identifier(row, "tradingsymbol"),
        token=identifier(row, "symboltoken"),
        product=_product(row),
        net_quantity=whole(row, "netqty"),
        # Negative where what was sold of the same line brought more than all of it had cost.
        average_price=number(row, "avgnetprice"),
    )


def _average_price(row: Mapping[str, object], filled: int) -> Decimal:
    if filled == 0 and row.get("averageprice") in (None, ""):
        return Decimal(0)
    return price(row, "averageprice")


def _exchange(row: Mapping[str, object]) -> Exchange:
    word = identifier(row, "exchange")
    if word not in Exchange:
        raise StrangeWord(one_line(f"exchange {word} is not one that we know"))
    return Exchange(word)


def _side(row: Mapping[str, object]) -> Side:
    word = identifier(row, "transactiontype")
    if word not in Side:
        raise StrangeWord(one_line(f"transactiontype {word} is neither BUY nor SELL"))
    return Side(word)


def _product(row: Mapping[str, object]) -> Product:
    product = _PRODUCTS_BY_NAME.get(identifier(row, "producttype"))
    if product is None:
        raise Malformed("producttype is not one that we know")
    return product
