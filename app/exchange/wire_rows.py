"""The rows of the wire: order book, order details, trade book, positions. Numbers are strings where the wire's are."""

from decimal import Decimal

from app.core.orders import OrderType, Product
from app.exchange.accounts import PositionLine
from app.exchange.exchange_time import wire_clock_time, wire_time
from app.exchange.fields import Json
from app.exchange.orders import OrderHappening, OrderState, PaperOrder, PaperTrade

WIRE_TYPES = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.SL: "STOPLOSS_LIMIT",
    OrderType.SL_M: "STOPLOSS_MARKET",
}
WIRE_PRODUCTS = {Product.MIS: "INTRADAY", Product.CNC: "DELIVERY", Product.NRML: "CARRYFORWARD"}
_AVERAGE_STEP = Decimal("0.0001")


def book_row(order: PaperOrder, *, with_tag: bool) -> dict[str, Json]:
    """Return a row of the order book: every number is a string."""
    row = _order_fields(order, order.state, order.filled, order.text)
    row |= {
        "price": plain(order.price),
        "triggerprice": plain(order.trigger_price),
        "squareoff": "0.00",
        "stoploss": "0.00",
        "trailingstoploss": "0.00",
        "strikeprice": "-1.00",
        "averageprice": plain(average(order.traded_value, order.filled)),
    }
    if with_tag:
        row["ordertag"] = order.tag
    return row


def details_row(order: PaperOrder, *, with_tag: bool) -> dict[str, Json]:
    """Return the details of one order: prices are numbers, quantities are strings."""
    row = _order_fields(order, order.state, order.filled, order.text)
    return row | _numeric_prices(order, order.traded_value, order.filled, with_tag=with_tag)


def update_row(event: OrderHappening, *, with_tag: bool) -> dict[str, Json]:
    """Return the order data of one order update, with the figures of that moment."""
    row = _order_fields(event.order, event.state, event.filled, event.text)
    return row | _numeric_prices(event.order, event.traded_value, event.filled, with_tag=with_tag)


def trade_row(trade: PaperTrade) -> dict[str, Json]:
    """Return a row of the trade book; its time has no date."""
    return {
        "exchange": trade.exchange,
        "producttype": WIRE_PRODUCTS[trade.product],
        "tradingsymbol": trade.symbol,
        "instrumenttype": "",
        "symbolgroup": "EQ",
        "strikeprice": "-1.00",
        "optiontype": "",
        "expirydate": "",
        "marketlot": "1",
        "precision": "2",
        "multiplier": "-1",
        "tradevalue": plain(trade.value),
        "transactiontype": trade.side,
        "fillprice": plain(trade.price),
        "fillsize": str(trade.quantity),
        "orderid": trade.order_id,
        "fillid": str(trade.trade_id),
        "filltime": wire_clock_time(trade.traded_at),
    }


def position_row(line: PositionLine) -> dict[str, Json]:
    """Return a row of the positions: the day's trades, what was carried into it, and the net of both."""
    net = line.position.quantity
    bought_cf, sold_cf = max(line.carried, 0), max(-line.carried, 0)
    bought_cf_value, sold_cf_value = max(line.carried_cost, Decimal(0)), max(-line.carried_cost, Decimal(0))
    bought, sold = bought_cf + line.bought, sold_cf + line.sold
    bought_value, sold_value = bought_cf_value + line.bought_value, sold_cf_value + line.sold_value
    average_net = plain(average(line.position.open_cost, net))
    return {
        "exchange": line.exchange,
        "symboltoken": line.token,
        "producttype": WIRE_PRODUCTS[line.product],
        "tradingsymbol": line.symbol,
        "symbolname": line.symbol,
        "instrumenttype": "",
        "symbolgroup": "EQ",
        "strikeprice": "-1",
        "optiontype": "",
        "expirydate": "",
        "lotsize": "1",
        "multiplier": "-1",
        "precision": "2",
        "boardlotsize": "1",
        "buyqty": str(line.bought),
        "sellqty": str(line.sold),
        "buyamount": plain(line.bought_value),
        "sellamount": plain(line.sold_value),
        "cfbuyqty": str(bought_cf),
        "cfsellqty": str(sold_cf),
        "cfbuyamount": plain(bought_cf_value),
        "cfsellamount": plain(sold_cf_value),
        "buyavgprice": plain(average(line.bought_value, line.bought)),
        "sellavgprice": plain(average(line.sold_value, line.sold)),
        "cfbuyavgprice": plain(average(bought_cf_value, bought_cf)),
        "cfsellavgprice": plain(average(sold_cf_value, sold_cf)),
        "totalbuyvalue": plain(bought_value),
        "totalsellvalue": plain(sold_value),
        "totalbuyavgprice": plain(average(bought_value, bought)),
        "totalsellavgprice": plain(average(sold_value, sold)),
        "netqty": str(net),
        # The wire's own sample has a space after the minus sign of this one field.
        "netvalue": plain(sold_value - bought_value).replace("-", "- "),
        "avgnetprice": average_net,
        "netprice": average_net,
    }


def plain(value: Decimal) -> str:
    """Write a decimal without an exponent and with at least two places."""
    return f"{value:.2f}" if value == value.quantize(Decimal("0.01")) else f"{value:f}"


def average(value: Decimal, quantity: int) -> Decimal:
    """Return rupees a unit, to a hundredth of a paisa; zero for no quantity."""
    return (value / quantity).quantize(_AVERAGE_STEP) if quantity else Decimal(0)


def wire_number(value: Decimal) -> float:
    """Return the JSON number of a price: only for fields that are numbers on the wire."""
    return float(value)


def _numeric_prices(order: PaperOrder, traded_value: Decimal, filled: int, *, with_tag: bool) -> dict[str, Json]:
    return {
        "price": wire_number(order.price),
        "triggerprice": wire_number(order.trigger_price),
        "squareoff": 0.0,
        "stoploss": 0.0,
        "trailingstoploss": 0.0,
        "strikeprice": -1.0,
        "averageprice": wire_number(average(traded_value, filled)),
        "ordertag": order.tag if with_tag else "",
    }


def _order_fields(order: PaperOrder, state: OrderState, filled: int, text: str) -> dict[str, Json]:
    updated = wire_time(order.updated_at)
    # A modified stop order says so in `status` while `orderstatus` tells where it stands.
    was_modified = order.modified and state is OrderState.TRIGGER_PENDING
    cancelled = order.quantity - filled if state is OrderState.CANCELLED else 0
    return {
        "variety": order.variety,
        "ordertype": WIRE_TYPES[order.order_type],
        "producttype": WIRE_PRODUCTS[order.product],
        "duration": order.validity,
        "quantity": str(order.quantity),
        "disclosedquantity": str(order.disclosed),
        "tradingsymbol": order.symbol,
        "transactiontype": order.side,
        "exchange": order.exchange,
        "symboltoken": order.token,
        "instrumenttype": "",
        "optiontype": "",
        "expirydate": "",
        "lotsize": str(order.lot_size),
        "cancelsize": str(cancelled),
        "filledshares": str(filled),
        "unfilledshares": str(order.quantity - filled),
        "orderid": order.order_id,
        "text": text,
        "status": "modified" if was_modified else state,
        "orderstatus": state,
        "updatetime": updated,
        "exchtime": wire_time(order.market_time),
        "exchorderupdatetime": updated,
        "fillid": "",
        "filltime": "",
        "parentorderid": "",
        "uniqueorderid": order.unique_id,
        "exchangeorderid": str(order.number) if order.rank is not None else "",
    }
