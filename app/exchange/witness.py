"""What the ledger testifies about a client: every arrival on its own, every trade, and the sums."""

from app.exchange.accounts import Account
from app.exchange.fields import Json
from app.exchange.ledger import Ledger
from app.exchange.ledger_rows import order_from, trade_from
from app.exchange.wire_rows import plain


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
    """Return counts and sums; money as text, `max_per_calendar_second` by the wall clock's seconds."""
    busiest = ledger.read(
        "SELECT coalesce(max(n), 0) AS n FROM (SELECT count(*) AS n FROM orders WHERE client_code = ?"
        " GROUP BY substr(received_at, 1, 19))",
        account.client_code,
    )
    return {
        "orders": account.orders,
        "trades": account.trades,
        "terminal": account.terminal,
        "realized_pnl": plain(account.realized_pnl),
        "fees": plain(account.fees),
        "cash": plain(account.cash),
        "max_per_calendar_second": int(busiest[0]["n"]),
    }
