"""What the ledger testifies about a client: every arrival on its own, every trade, and the sums."""

import sqlite3

from app.exchange.accounts import Account
from app.exchange.fields import Json
from app.exchange.ledger import Ledger
from app.exchange.ledger_rows import order_from, trade_from
from app.exchange.wire_rows import plain

SECONDS_TOLD_MAX = 100


def testify(ledger: Ledger, account: Account) -> dict[str, Json]:
    """Return all orders and trades of all days, and the summary."""
    code = account.client_code
    orders = map(order_from, ledger.read("SELECT * FROM orders WHERE client_code = ? ORDER BY number", code))
    trades = map(trade_from, ledger.read("SELECT * FROM trades WHERE client_code = ? ORDER BY trade_id", code))
    return {
        "orders": [
            {
                "order_id": order.order_id,
                "unique_id": order.unique_id,
                "tag": order.tag,
                "exchange": order.exchange,
                "symbol": order.symbol,
                "token": order.token,
                "side": order.side,
                "order_type": order.order_type,
                "product": order.product,
                "quantity": order.quantity,
                "price": plain(order.price),
                "trigger_price": plain(order.trigger_price),
                "filled": order.filled,
                "traded_value": str(order.traded_value),
                "status": order.state,
                "text": order.text,
                "received_at": order.received_at.isoformat(timespec="microseconds"),
                "market_time": order.market_time.isoformat(),
                "acknowledged": order.acknowledged,
            }
            for order in orders
        ],
        "trades": [
            {
                "trade_id": str(trade.trade_id),
                "order_id": trade.order_id,
                "exchange": trade.exchange,
                "symbol": trade.symbol,
                "token": trade.token,
                "product": trade.product,
                "side": trade.side,
                "quantity": trade.quantity,
                "price": str(trade.price),
                "fees": str(trade.fees),
                "traded_at": trade.traded_at.isoformat(),
            }
            for trade in trades
        ],
        "summary": summarise(ledger, account),
    }


def summarise(ledger: Ledger, account: Account) -> dict[str, Json]:
    """Return counts, sums and net positions; money as text.

    `per_second` counts the order writes (placements, modifications and cancellations, refused ones too) of the busiest
    seconds of the exchange's clock, over all segments and of each segment.
    """
    seconds = _busiest_seconds(ledger, account.client_code, "second")
    segments = _busiest_seconds(ledger, account.client_code, "exchange, second")
    return {
        "orders": account.orders,
        "trades": account.trades,
        "terminal": account.terminal,
        "realized_pnl": plain(account.realized_pnl),
        "fees": plain(account.fees),
        "start_cash": plain(account.start_cash),
        "cash": plain(account.cash),
        "positions": [
            {
                "exchange": line.exchange,
                "token": line.token,
                "symbol": line.symbol,
                "product": line.product,
                "quantity": line.position.quantity,
                "open_cost": str(line.position.open_cost),
                "realized_pnl": str(line.position.realized_pnl),
                "fees": str(line.position.fees),
            }
            for line in account.lines.values()
        ],
        "per_second": {row["second"]: row["n"] for row in seconds},
        "max_per_calendar_second": max((int(row["n"]) for row in seconds), default=0),
        "max_per_segment_second": max((int(row["n"]) for row in segments), default=0),
    }


def _busiest_seconds(ledger: Ledger, client_code: str, grouped_by: str) -> list[sqlite3.Row]:
    return ledger.read(
        f"SELECT second, sum(n) AS n FROM writes WHERE client_code = ? GROUP BY {grouped_by}"  # noqa: S608  our words
        f" ORDER BY n DESC, second LIMIT {SECONDS_TOLD_MAX}",
        client_code,
    )
