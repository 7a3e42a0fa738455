"""SmartAPI's prices: last price, full quotes and candles."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from app.brokers.angelone.values import (
    Malformed,
    count,
    exchange_moment,
    identifier,
    mapping,
    price,
    rows,
    to_number,
    to_whole,
)
from app.brokers.base import Candle, Quote
from app.core.instruments import Exchange

_CANDLE_FIELDS = 6


def parse_last_price(data: object, token: str) -> Decimal:
    """Return the last price of the asked token; raises `Malformed`."""
    quote = mapping(data, "last price")
    if identifier(quote, "symboltoken") != token:
        raise Malformed("last price is of another token")
    return price(quote, "ltp")


def parse_quotes(data: object, tokens: dict[Exchange, list[str]]) -> list[Quote]:
    """Return a quote of every asked token; raises `Malformed` when one is missing."""
    answer = mapping(data, "quotes")
    quotes = [_quote(row) for row in rows(answer.get("fetched"), "quotes")]
    asked = {(exchange, token) for exchange, of_exchange in tokens.items() for token in of_exchange}
    if {(quote.exchange, quote.token) for quote in quotes} != asked:
        raise Malformed("quotes are not of all the asked tokens")
    return quotes


def parse_candles(data: object) -> list[Candle]:
    """Return candles, oldest first; raises `Malformed`."""
    if data is None:
        return []
    if not isinstance(data, list):
        raise Malformed("candles are not a list")
    return sorted((_candle(row) for row in data), key=lambda candle: candle.start)


def _quote(row: Mapping[str, object]) -> Quote:
    try:
        exchange = Exchange(identifier(row, "exchange"))
    except ValueError:
        raise Malformed("exchange is not one that we know") from None
    return Quote(
        exchange=exchange,
        trading_symbol=identifier(row, "tradingSymbol"),
        token=identifier(row, "symbolToken"),
        last_price=price(row, "ltp"),
        open=price(row, "open"),
        high=price(row, "high"),
        low=price(row, "low"),
        close=price(row, "close"),
        volume=count(row, "tradeVolume"),
        at=exchange_moment(row.get("exchFeedTime"), "exchFeedTime"),
    )


def _candle(row: object) -> Candle:
    if not isinstance(row, list) or len(row) != _CANDLE_FIELDS:
        raise Malformed("a candle does not have six fields")
    stamp, *prices, volume = row
    opened, high, low, close = (to_number(value, "a candle's price") for value in prices)
    return Candle(
        start=_moment(stamp), open=opened, high=high, low=low, close=close, volume=to_whole(volume, "a candle's volume")
    )


def _moment(stamp: object) -> datetime:
    try:
        if isinstance(stamp, str):
            moment = datetime.fromisoformat(stamp)
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Malformed("a candle's time is not a moment")
