"""The bodies of SmartAPI's requests, in its own words. Numbers travel as text."""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from app.brokers.base import CandleInterval
from app.core.instruments import Exchange
from app.core.orders import OrderType, Product, Validity
from app.core.ports import PlaceRequest
from app.infra.clock import IST

QUOTE_TOKENS_MAX = 50

ORDER_TYPES = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.SL: "STOPLOSS_LIMIT",
    OrderType.SL_M: "STOPLOSS_MARKET",
}
PRODUCTS = {Product.MIS: "INTRADAY", Product.CNC: "DELIVERY", Product.NRML: "CARRYFORWARD"}
DURATIONS = {Validity.DAY: "DAY", Validity.IOC: "IOC"}


class UnsendableRequest(ValueError):
    """The request contradicts itself or the broker's form, so it was not sent; the message says how."""


def place_body(request: PlaceRequest, *, tag_length_max: int) -> bytes:
    """Return the body of a place call; raises `UnsendableRequest`."""
    if not 0 < len(request.tag) <= tag_length_max or not request.tag.isascii():
        raise UnsendableRequest(f"tag must be 1 to {tag_length_max} ASCII characters")
    return _encode(_order_fields(request) | {"ordertag": request.tag, "squareoff": "0", "stoploss": "0"})


def modify_body(broker_order_id: str, request: PlaceRequest) -> bytes:
    """Return the body of a modify call; raises `UnsendableRequest`."""
    return _encode(_order_fields(request) | {"orderid": broker_order_id})


def cancel_body(broker_order_id: str, order_type: OrderType) -> bytes:
    """Return the body of a cancel call; the variety must be the order's own, which its type tells."""
    return _encode({"variety": _variety(order_type), "orderid": broker_order_id})


def last_price_body(exchange: Exchange, trading_symbol: str, token: str) -> bytes:
    """Return the body of a last price call."""
    return _encode({"exchange": exchange, "tradingsymbol": trading_symbol, "symboltoken": token})


def quotes_body(tokens: dict[Exchange, list[str]]) -> bytes:
    """Return the body of a full quote; raises `UnsendableRequest` above the broker's number of tokens."""
    if not 0 < sum(map(len, tokens.values())) <= QUOTE_TOKENS_MAX:
        raise UnsendableRequest(f"a quote takes 1 to {QUOTE_TOKENS_MAX} tokens")
    return _encode({"mode": "FULL", "exchangeTokens": tokens})


def candles_body(exchange: Exchange, token: str, interval: CandleInterval, start: datetime, end: datetime) -> bytes:
    """Return the body of a candle call; SmartAPI takes minutes in Indian time."""
    return _encode(
        {
            "exchange": exchange,
            "symboltoken": token,
            "interval": interval,
            "fromdate": f"{start.astimezone(IST):%Y-%m-%d %H:%M}",
            "todate": f"{end.astimezone(IST):%Y-%m-%d %H:%M}",
        }
    )


def login_body(client_code: str, pin: str, totp: str) -> bytes:
    """Return the body of a login; its `password` is the account's PIN."""
    return _encode({"clientcode": client_code, "password": pin, "totp": totp})


def refresh_body(refresh_token: str) -> bytes:
    """Return the body of a token refresh."""
    return _encode({"refreshToken": refresh_token})


def logout_body(client_code: str) -> bytes:
    """Return the body of a logout."""
    return _encode({"clientcode": client_code})


def _order_fields(request: PlaceRequest) -> dict[str, str]:
    if request.quantity <= 0:
        raise UnsendableRequest("quantity must be positive")
    return {
        "variety": _variety(request.order_type),
        "tradingsymbol": request.trading_symbol,
        "symboltoken": request.token,
        "transactiontype": request.side,
        "exchange": request.exchange,
        "ordertype": ORDER_TYPES[request.order_type],
        "producttype": PRODUCTS[request.product],
        "duration": DURATIONS[request.validity],
        "price": _price("price", request.price, needed=request.order_type.has_limit_price),
        "triggerprice": _price("trigger_price", request.trigger_price, needed=request.order_type.has_trigger),
        "quantity": str(request.quantity),
        "disclosedquantity": "0",
    }


def _variety(order_type: OrderType) -> str:
    return "STOPLOSS" if order_type.has_trigger else "NORMAL"


def _price(name: str, value: Decimal | None, *, needed: bool) -> str:
    if not needed:
        if value is not None:
            raise UnsendableRequest(f"{name} does not belong to this order type")
        return "0"
    if value is None or not value.is_finite() or value <= 0:
        raise UnsendableRequest(f"{name} must be positive for this order type")
    return format(value, "f")


def _encode(fields: Mapping[str, str | dict[Exchange, list[str]]]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()
