"""Last prices, the day's figures and one-minute candles, made from the prices that the exchange is given."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from app.core.matching import participation
from app.exchange.exchange_time import exchange_day

STALE_AFTER = timedelta(minutes=10)
"""A market order does not trade on a price older than this, in market time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Print:
    """A price to be printed: instrument key, rupees, and units traded with it (None for any number)."""

    key: str
    price: Decimal
    volume: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastPrice:
    """The last price of an instrument and its day so far. `available` = units that may still trade at it."""

    key: str
    price: Decimal
    at: datetime
    day: date
    open: Decimal
    high: Decimal
    low: Decimal
    previous_close: Decimal
    volume: int
    last_quantity: int
    available: int | None

    def is_stale(self, now: datetime) -> bool:
        """Whether the price is too old for a market order."""
        return now - self.at > STALE_AFTER


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """One minute of prices; `start` in UTC, prices in rupees, volume in units."""

    key: str
    start: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int


class PriceBoard:
    """The last price and the running candle of every instrument that has a price."""

    def __init__(self, prices: list[LastPrice], candles: list[Candle]) -> None:
        self._prices = {price.key: price for price in prices}
        self._candles = {candle.key: candle for candle in candles}

    def get(self, key: str) -> LastPrice | None:
        """Return the last price, or None when there is none."""
        return self._prices.get(key)

    def clear(self) -> None:
        """Forget everything: another replay begins."""
        self._prices.clear()
        self._candles.clear()

    def use(self, key: str, available: int | None) -> LastPrice:
        """Record how many units are left to trade at the last price."""
        left = self._prices[key] = replace(self._prices[key], available=available)
        return left

    def print(self, key: str, price: Decimal, volume: int | None, at: datetime) -> tuple[LastPrice, Candle]:
        """Take a new price into the day's figures and the running candle, and return both."""
        last = self._prices[key] = _next_price(self._prices.get(key), key, price, volume, at)
        candle = self._candles[key] = _next_candle(self._candles.get(key), key, price, volume or 0, at)
        return last, candle


def _next_price(last: LastPrice | None, key: str, price: Decimal, volume: int | None, at: datetime) -> LastPrice:
    day = exchange_day(at)
    quantity, available = volume or 0, participation(volume)
    if last is None or last.day != day:
        return LastPrice(
            key=key,
            price=price,
            at=at,
            day=day,
            open=price,
            high=price,
            low=price,
            previous_close=last.price if last else price,
            volume=quantity,
            last_quantity=quantity,
            available=available,
        )
    return replace(
        last,
        price=price,
        at=at,
        high=max(last.high, price),
        low=min(last.low, price),
        volume=last.volume + quantity,
        last_quantity=quantity,
        available=available,
    )


def _next_candle(last: Candle | None, key: str, price: Decimal, volume: int, at: datetime) -> Candle:
    start = at.replace(second=0, microsecond=0)
    if last is None or last.start != start:
        return Candle(key=key, start=start, open=price, high=price, low=price, close=price, volume=volume)
    return replace(last, high=max(last.high, price), low=min(last.low, price), close=price, volume=last.volume + volume)
