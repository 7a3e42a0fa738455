"""Taking the exchange's values to ledger rows and back."""

import sqlite3
from datetime import date, datetime
from decimal import Decimal

from app.core.instruments import Exchange
from app.core.orders import OrderType, Product, Side, Validity
from app.exchange.accounts import Account
from app.exchange.orders import OrderHappening, OrderState, PaperOrder, PaperTrade
from app.exchange.prices import Candle, LastPrice

type SqlValue = str | int | None
type SqlRow = tuple[SqlValue, ...]


def order_row(order: PaperOrder) -> SqlRow:
    """Return the columns of `orders`, in the order of the schema."""
    return (
        order.order_id,
        order.unique_id,
        order.number,
        order.client_code,
        order.tag,
        order.exchange,
        order.token,
        order.symbol,
        order.lot_size,
        order.variety,
        order.order_type,
        order.product,
        order.validity,
        order.side,
        order.quantity,
        order.disclosed,
        str(order.price),
        str(order.trigger_price),
        order.day.isoformat(),
        order.received_at.isoformat(timespec="microseconds"),
        order.market_time.isoformat(),
        order.updated_at.isoformat(),
        order.acknowledged,
        order.state,
        order.triggered,
        order.modified,
        order.filled,
        str(order.traded_value),
        order.text,
        order.run,
        order.rank,
    )


def order_from(row: sqlite3.Row) -> PaperOrder:
    """Return the order of a row of `orders`."""
    return PaperOrder(
        order_id=row["order_id"],
        unique_id=row["unique_id"],
        number=row["number"],
        client_code=row["client_code"],
        tag=row["tag"],
        exchange=Exchange(row["exchange"]),
        token=row["token"],
        symbol=row["symbol"],
        lot_size=row["lot_size"],
        variety=row["variety"],
        order_type=OrderType(row["order_type"]),
        product=Product(row["product"]),
        validity=Validity(row["validity"]),
        side=Side(row["side"]),
        quantity=row["quantity"],
        disclosed=row["disclosed"],
        price=Decimal(row["price"]),
        trigger_price=Decimal(row["trigger_price"]),
        day=date.fromisoformat(row["day"]),
        received_at=datetime.fromisoformat(row["received_at"]),
        market_time=datetime.fromisoformat(row["market_time"]),
        updated_at=datetime.fromisoformat(row["updated_at"]),
        acknowledged=bool(row["acknowledged"]),
        state=OrderState(row["state"]),
        triggered=bool(row["triggered"]),
        modified=bool(row["modified"]),
        filled=row["filled"],
        traded_value=Decimal(row["traded_value"]),
        text=row["text"],
        run=row["run"],
        rank=row["rank"],
    )


def trade_row(trade: PaperTrade) -> SqlRow:
    """Return the columns of `trades`, in the order of the schema."""
    return (
        trade.trade_id,
        trade.order_id,
        trade.client_code,
        trade.exchange,
        trade.token,
        trade.symbol,
        trade.product,
        trade.side,
        trade.quantity,
        str(trade.price),
        str(trade.fees),
        trade.traded_at.isoformat(),
        trade.day.isoformat(),
    )


def trade_from(row: sqlite3.Row) -> PaperTrade:
    """Return the trade of a row of `trades`."""
    return PaperTrade(
        trade_id=row["trade_id"],
        order_id=row["order_id"],
        client_code=row["client_code"],
        exchange=Exchange(row["exchange"]),
        token=row["token"],
        symbol=row["symbol"],
        product=Product(row["product"]),
        side=Side(row["side"]),
        quantity=row["quantity"],
        price=Decimal(row["price"]),
        fees=Decimal(row["fees"]),
        traded_at=datetime.fromisoformat(row["traded_at"]),
        day=date.fromisoformat(row["day"]),
    )


def event_row(event: OrderHappening) -> SqlRow:
    """Return the columns of `order_events` after its id."""
    return (event.order.order_id, event.happening, event.state, event.filled, event.text, event.at.isoformat())


def price_row(last: LastPrice) -> SqlRow:
    """Return the columns of `prices`, in the order of the schema."""
    return (
        last.key,
        str(last.price),
        last.at.isoformat(),
        last.day.isoformat(),
        str(last.open),
        str(last.high),
        str(last.low),
        str(last.previous_close),
        last.volume,
        last.last_quantity,
        last.available,
    )


def price_from(row: sqlite3.Row) -> LastPrice:
    """Return the last price of a row of `prices`."""
    return LastPrice(
        key=row["key"],
        price=Decimal(row["price"]),
        at=datetime.fromisoformat(row["at"]),
        day=date.fromisoformat(row["day"]),
        open=Decimal(row["open"]),
        high=Decimal(row["high"]),
        low=Decimal(row["low"]),
        previous_close=Decimal(row["previous_close"]),
        volume=row["volume"],
        last_quantity=row["last_quantity"],
        available=row["available"],
    )


def candle_row(candle: Candle) -> SqlRow:
    """Return the columns of `candles`, in the order of the schema."""
    prices = (candle.open, candle.high, candle.low, candle.close)
    return (candle.key, candle.start.isoformat(), *map(str, prices), candle.volume)


def candle_from(row: sqlite3.Row) -> Candle:
    """Return the candle of a row of `candles`."""
    return Candle(
        key=row["key"],
        start=datetime.fromisoformat(row["start"]),
        open=Decimal(row["open"]),
        high=Decimal(row["high"]),
        low=Decimal(row["low"]),
        close=Decimal(row["close"]),
        volume=row["volume"],
    )


def account_row(account: Account) -> SqlRow:
    """Return the columns of `accounts`, in the order of the schema."""
    return (
        account.client_code,
        account.pin,
        account.totp_secret,
        account.api_key,
        str(account.start_cash),
        str(account.cash),
    )


def account_from(row: sqlite3.Row) -> Account:
    """Return the account of a row of `accounts`; its counters and positions are filled by the loader."""
    return Account(
        client_code=row["client_code"],
        pin=row["pin"],
        totp_secret=row["totp_secret"],
        api_key=row["api_key"],
        start_cash=Decimal(row["start_cash"]),
        cash=Decimal(row["cash"]),
    )
