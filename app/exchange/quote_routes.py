"""Last prices, quotes, candles and symbol search over the wire."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from starlette.exceptions import HTTPException

from app.exchange.exchange_time import IST, wire_time
from app.exchange.faults import Op
from app.exchange.fields import BadField, Json, as_list, as_object, required_text, text
from app.exchange.market import Market
from app.exchange.prices import Candle, LastPrice
from app.exchange.session_routes import SECURE
from app.exchange.settings import ExchangeInstrument
from app.exchange.wire import Call, Endpoint, Wire, WireRefusal
from app.exchange.wire_rows import wire_number

QUOTE_TOKENS_MAX = 50
CIRCUIT = Decimal("0.10")
"""Price bands shown in full quotes, as a part of the previous close; nothing enforces them here."""

_INTERVALS = {
    # name: (minutes, longest span of a request in days)
    "ONE_MINUTE": (1, 30),
    "THREE_MINUTE": (3, 60),
    "FIVE_MINUTE": (5, 100),
    "TEN_MINUTE": (10, 100),
    "FIFTEEN_MINUTE": (15, 200),
    "THIRTY_MINUTE": (30, 200),
    "ONE_HOUR": (60, 400),
    "ONE_DAY": (1440, 2000),
}
_SESSION_START_MINUTE = 9 * 60 + 15
_EMPTY_LEVELS: list[Json] = [{"quantity": 0, "price": 0.0, "orders": 0} for _ in range(5)]


class QuoteRoutes:
    """Handlers of market data."""

    def __init__(self, market: Market) -> None:
        self._market = market

    def routes(self, wire: Wire) -> list[tuple[str, str, Endpoint]]:
        """Return method, path and endpoint of each."""
        quote = wire.endpoint(Op.QUOTE, self.quote)
        return [
            ("POST", f"{SECURE}/order/v1/getLtpData", wire.endpoint(Op.QUOTE, self.ltp)),
            ("POST", f"{SECURE}/market/v1/quote/", quote),
            ("POST", f"{SECURE}/market/v1/quote", quote),
            ("POST", f"{SECURE}/historical/v1/getCandleData", wire.endpoint(Op.QUOTE, self.candles)),
            ("POST", f"{SECURE}/order/v1/searchScrip", wire.endpoint(Op.QUOTE, self.search)),
        ]

    def ltp(self, call: Call) -> Json:
        """Return the last price of one instrument."""
        key = f"{required_text(call.body, 'exchange')}:{required_text(call.body, 'symboltoken')}"
        instrument, last = self._market.instruments.get(key), self._market.prices.get(key)
        if instrument is None:
            raise WireRefusal("AB1009", "Symbol not found")
        if last is None:
            raise WireRefusal("AB1018", "Failed to get symbol details")
        return {
            "exchange": instrument.exchange,
            "tradingsymbol": instrument.trading_symbol,
            "symboltoken": instrument.token,
            "open": wire_number(last.open),
            "high": wire_number(last.high),
            "low": wire_number(last.low),
            "close": wire_number(last.previous_close),
            "ltp": wire_number(last.price),
        }

    def quote(self, call: Call) -> Json:
        """Return quotes of up to fifty instruments, and which of them have none."""
        row = _QUOTES.get(text(call.body, "mode"))
        if row is None:
            raise BadField("mode", f"must be one of {', '.join(_QUOTES)}")
        wanted = _wanted(call.body)
        fetched: list[Json] = []
        unfetched: list[Json] = []
        for exchange, token in wanted:
            key = f"{exchange}:{token}"
            instrument, last = self._market.instruments.get(key), self._market.prices.get(key)
            if instrument is None or last is None:
                unfetched.append(
                    {
                        "exchange": exchange,
                        "symbolToken": token,
                        "message": "Failed to get symbol details",
                        "errorCode": "AB1018",
                    }
                )
            else:
                fetched.append(row(instrument, last))
        return {"fetched": fetched, "unfetched": unfetched}

    def candles(self, call: Call) -> Json:
        """Return candles of the prices that this exchange has printed."""
        interval = _INTERVALS.get(text(call.body, "interval", default=""))
        if interval is None:
            # The wire answers an unknown interval so, with nothing in the body.
            raise HTTPException(400, "")
        minutes, days_max = interval
        key = f"{required_text(call.body, 'exchange')}:{required_text(call.body, 'symboltoken')}"
        if self._market.instruments.get(key) is None:
            raise WireRefusal("AB1009", "Symbol not found")
        since, until = _moment(call.body, "fromdate"), _moment(call.body, "todate")
        if until - since > timedelta(days=days_max):
            raise BadField("todate", f"is more than {days_max} days after fromdate")
        return _merge(self._market.ledger.candles(key, since, until), minutes) or None

    def search(self, call: Call) -> Json:
        """Return instruments whose trading symbol holds a text."""
        exchange, wanted = required_text(call.body, "exchange"), required_text(call.body, "searchscrip")
        return [
            {"exchange": hit.exchange, "tradingsymbol": hit.trading_symbol, "symboltoken": hit.token}
            for hit in self._market.instruments.search(exchange, wanted)
        ]


def _wanted(body: dict[str, Json]) -> list[tuple[str, str]]:
    wanted: list[tuple[str, str]] = []
    for exchange, tokens in as_object("exchangeTokens", body.get("exchangeTokens")).items():
        for token in as_list("exchangeTokens", tokens, longest=QUOTE_TOKENS_MAX):
            if not isinstance(token, str):
                raise BadField("exchangeTokens", "must hold texts")
            wanted.append((exchange, token))
    if len(wanted) > QUOTE_TOKENS_MAX:
        raise BadField("exchangeTokens", f"must hold at most {QUOTE_TOKENS_MAX} tokens")
    return wanted


def _quote_ltp(instrument: ExchangeInstrument, last: LastPrice) -> dict[str, Json]:
    return {
        "exchange": instrument.exchange,
        "tradingSymbol": instrument.trading_symbol,
        "symbolToken": instrument.token,
        "ltp": wire_number(last.price),
    }


def _quote_ohlc(instrument: ExchangeInstrument, last: LastPrice) -> dict[str, Json]:
    return _quote_ltp(instrument, last) | {
        "open": wire_number(last.open),
        "high": wire_number(last.high),
        "low": wire_number(last.low),
        "close": wire_number(last.previous_close),
    }


def _quote_full(instrument: ExchangeInstrument, last: LastPrice) -> dict[str, Json]:
    change = last.price - last.previous_close
    band = last.previous_close * CIRCUIT
    return _quote_ohlc(instrument, last) | {
        "lastTradeQty": last.last_quantity,
        "exchFeedTime": wire_time(last.at),
        "exchTradeTime": wire_time(last.at),
        "netChange": wire_number(change),
        "percentChange": wire_number(round(100 * change / last.previous_close, 2)),
        "avgPrice": wire_number(last.price),
        "tradeVolume": last.volume,
        "opnInterest": 0,
        "lowerCircuit": wire_number(round(last.previous_close - band, 2)),
        "upperCircuit": wire_number(round(last.previous_close + band, 2)),
        "referenceLimitPrice": wire_number(last.price),
        "totBuyQuan": 0,
        "totSellQuan": 0,
        "52WeekLow": wire_number(last.low),
        "52WeekHigh": wire_number(last.high),
        "depth": {"buy": _EMPTY_LEVELS, "sell": _EMPTY_LEVELS},
    }


_QUOTES: dict[str, Callable[[ExchangeInstrument, LastPrice], dict[str, Json]]] = {
    "LTP": _quote_ltp,
    "OHLC": _quote_ohlc,
    "FULL": _quote_full,
}


def _moment(body: dict[str, Json], field: str) -> datetime:
    written = required_text(body, field)
    try:
        return datetime.strptime(written, "%Y-%m-%d %H:%M").replace(tzinfo=IST).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadField(field, "must be written as YYYY-MM-DD HH:MM") from error


def _merge(candles: list[Candle], minutes: int) -> list[Json]:
    """Merge minutes into longer candles that begin at the session's start, and write them as the wire does."""
    merged: dict[datetime, list[Candle]] = {}
    for candle in candles:
        local = candle.start.astimezone(IST)
        minute = local.hour * 60 + local.minute
        anchor = 0 if minutes >= 24 * 60 else _SESSION_START_MINUTE
        merged.setdefault(local - timedelta(minutes=(minute - anchor) % minutes), []).append(candle)
    return [
        [
            start.isoformat(),
            wire_number(group[0].open),
            wire_number(max(c.high for c in group)),
            wire_number(min(c.low for c in group)),
            wire_number(group[-1].close),
            sum(c.volume for c in group),
        ]
        for start, group in merged.items()
    ]
