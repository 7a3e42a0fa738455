"""The ledger: an SQLite file that holds all that happened in the market, committed before any answer leaves.

It is the independent witness of what reached the market, so it records every order that was taken, each on its
own, and never folds two with the same tag into one. It is written inside the event loop: a commit to the
write-ahead log costs some tens of microseconds, less than handing it to a thread.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

from app.core.errors import SaudaError
from app.exchange.accounts import Account
from app.exchange.ledger_rows import (
    SqlRow,
    account_from,
    account_row,
    candle_from,
    candle_row,
    event_row,
    order_from,
    order_row,
    price_from,
    price_row,
    trade_from,
    trade_row,
)
from app.exchange.ledger_schema import COUNTS, SCHEMA, WORKING_ORDERS
from app.exchange.orders import OrderHappening, OrderState, PaperOrder, PaperTrade
from app.exchange.prices import Candle, LastPrice

LEDGER_MODE = 0o600
"""The file holds the paper accounts' PINs and secrets."""


class LedgerFailed(SaudaError):
    """The ledger cannot be read or written. Memory may be ahead of the file: the process must end and start anew."""

    code = "ledger_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LastNumbers:
    """The highest arrival number, rank and trade id that were given out."""

    order: int
    rank: int
    trade: int


@dataclass(slots=True)
class Entry:
    """All that one action of the market changes; written in one transaction."""

    new_orders: dict[str, PaperOrder] = field(default_factory=dict)
    changed_orders: dict[str, PaperOrder] = field(default_factory=dict)
    trades: list[PaperTrade] = field(default_factory=list)
    events: list[OrderHappening] = field(default_factory=list)
    accounts: dict[str, Account] = field(default_factory=dict)
    prices: dict[str, LastPrice] = field(default_factory=dict)
    candles: dict[str, Candle] = field(default_factory=dict)
    state: dict[str, str] = field(default_factory=dict)
    step: tuple[str, int, str, str] | None = None
    write: tuple[str, str, str, str] | None = None
    forget_prices: bool = False


class Ledger:
    """Opens the file, making it if it is new; one per process. Raises `LedgerFailed`."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=LEDGER_MODE)
            self._db = sqlite3.connect(path, isolation_level=None, cached_statements=256)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise LedgerFailed(f"{path}: {error}") from error
        self.failed = False

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run statements in one transaction; raises `LedgerFailed`, after which nothing more is written."""
        if self.failed:
            raise LedgerFailed("an earlier write failed")
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self.failed = True
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise LedgerFailed(str(error)) from error

    def write(self, entry: Entry) -> None:
        """Commit one action of the market."""
        with self.transaction() as db:
            if entry.forget_prices:
                db.execute("DELETE FROM prices")
                db.execute("DELETE FROM candles")
            _insert(db, "orders", map(order_row, entry.new_orders.values()))
            _update_orders(db, entry.changed_orders.values())
            _insert(db, "trades", map(trade_row, entry.trades))
            db.executemany(
                "INSERT INTO order_events (order_id, event, state, filled, text, at) VALUES (?, ?, ?, ?, ?, ?)",
                map(event_row, entry.events),
            )
            for account in entry.accounts.values():
                db.execute(
                    "UPDATE accounts SET cash = ? WHERE client_code = ?", (str(account.cash), account.client_code)
                )
            _insert(db, "prices", map(price_row, entry.prices.values()), or_replace=True)
            _insert(db, "candles", map(candle_row, entry.candles.values()), or_replace=True)
            _insert(db, "state", entry.state.items(), or_replace=True)
            if entry.write:
                db.execute("INSERT INTO writes VALUES (?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1", entry.write)
            if entry.step:
                db.execute("INSERT INTO steps VALUES (?, ?, ?, ?)", entry.step)

    def add_account(self, account: Account) -> None:
        """Record a new account."""
        with self.transaction() as db:
            _insert(db, "accounts", [account_row(account)])

    def read(self, sql: str, *values: str | int) -> list[sqlite3.Row]:
        """Run a query; raises `LedgerFailed`."""
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise LedgerFailed(str(error)) from error

    def accounts(self) -> list[Account]:
        """Return all accounts, with their counters and positions made anew from orders and trades."""
        accounts = {row["client_code"]: account_from(row) for row in self.read("SELECT * FROM accounts")}
        for row in self.read(COUNTS):
            account = accounts[row["client_code"]]
            account.orders, account.terminal = row["orders"], row["terminal"]
        for row in self._db.execute("SELECT * FROM trades ORDER BY trade_id"):
            accounts[row["client_code"]].take_position(trade_from(row))
        return list(accounts.values())

    def working_orders(self) -> list[PaperOrder]:
        """Return the orders that can still trade, by arrival."""
        return [order_from(row) for row in self.read(WORKING_ORDERS)]

    def order_ids_of(self, client_code: str, day: date) -> list[str]:
        """Return the ids of a client's orders of an exchange day, by arrival."""
        sql = "SELECT order_id FROM orders WHERE client_code = ? AND day = ? ORDER BY number"
        return [row["order_id"] for row in self.read(sql, client_code, day.isoformat())]

    def order_by_unique_id(self, client_code: str, unique_id: str) -> PaperOrder | None:
        """Return a client's order by its unique id, or None."""
        rows = self.read("SELECT * FROM orders WHERE unique_id = ? AND client_code = ?", unique_id, client_code)
        return order_from(rows[0]) if rows else None

    def order_by_id(self, client_code: str, order_id: str) -> PaperOrder | None:
        """Return a client's order by its order id, or None."""
        rows = self.read("SELECT * FROM orders WHERE order_id = ? AND client_code = ?", order_id, client_code)
        return order_from(rows[0]) if rows else None

    def order_as_of(self, order: PaperOrder, until: datetime) -> PaperOrder:
        """Return an order with the state, text and trades that it had at a moment; its terms are today's."""
        events = "SELECT state, filled, text FROM order_events WHERE order_id = ? AND at <= ? ORDER BY id DESC LIMIT 1"
        then = self.read(events, order.order_id, until.isoformat())
        trades = map(trade_from, self.read("SELECT * FROM trades WHERE order_id = ?", order.order_id))
        value = sum((trade.value for trade in trades if trade.traded_at <= until), Decimal(0))
        if not then:
            return order
        state, filled, text = OrderState(then[0]["state"]), int(then[0]["filled"]), str(then[0]["text"])
        return replace(order, state=state, filled=filled, text=text, traded_value=value)

    def has_order(self, order_id: str) -> bool:
        """Whether an order id is taken."""
        return bool(self.read("SELECT 1 FROM orders WHERE order_id = ?", order_id))

    def trade_ids_of(self, client_code: str, day: date) -> list[int]:
        """Return the ids of a client's trades of an exchange day, in the order in which they were made."""
        sql = "SELECT trade_id FROM trades WHERE client_code = ? AND day = ? ORDER BY trade_id"
        return [row["trade_id"] for row in self.read(sql, client_code, day.isoformat())]

    def trade(self, trade_id: int) -> PaperTrade:
        """Return a trade."""
        return trade_from(self.read("SELECT * FROM trades WHERE trade_id = ?", trade_id)[0])

    def last_numbers(self) -> LastNumbers:
        """Return the highest numbers given out so far, 0 where there is none: where counting goes on."""
        orders = self.read("SELECT coalesce(max(number), 0) AS number, coalesce(max(rank), 0) AS rank FROM orders")[0]
        trades = self.read("SELECT coalesce(max(trade_id), 0) AS trade_id FROM trades")[0]
        return LastNumbers(order=orders["number"], rank=orders["rank"], trade=trades["trade_id"])

    def state(self) -> dict[str, str]:
        """Return what the market remembers of itself."""
        return {row["key"]: row["value"] for row in self.read("SELECT * FROM state")}

    def last_prices(self) -> list[LastPrice]:
        """Return the last price of every instrument that has one."""
        return [price_from(row) for row in self.read("SELECT * FROM prices")]

    def last_candles(self) -> list[Candle]:
        """Return the latest candle of every instrument that has one."""
        sql = "SELECT c.* FROM candles c WHERE start = (SELECT max(start) FROM candles WHERE key = c.key)"
        return [candle_from(row) for row in self.read(sql)]

    def candles(self, key: str, since: datetime, until: datetime) -> list[Candle]:
        """Return an instrument's candles that start in a span of time, both ends included."""
        sql = "SELECT * FROM candles WHERE key = ? AND start BETWEEN ? AND ? ORDER BY start"
        return [candle_from(row) for row in self.read(sql, key, since.isoformat(), until.isoformat())]

    def step(self, run: str, step: int) -> tuple[str, str] | None:
        """Return the request and the answer of a step that was already taken, or None."""
        rows = self.read("SELECT request, answer FROM steps WHERE run = ? AND step = ?", run, step)
        return (rows[0]["request"], rows[0]["answer"]) if rows else None


def _insert(db: sqlite3.Connection, table: str, rows: Iterable[SqlRow], *, or_replace: bool = False) -> None:
    verb = "INSERT OR REPLACE" if or_replace else "INSERT"
    for row in rows:
        places = ", ".join("?" * len(row))
        db.execute(f"{verb} INTO {table} VALUES ({places})", row)


def _update_orders(db: sqlite3.Connection, orders: Iterable[PaperOrder]) -> None:
    for order in orders:
        db.execute(
            "UPDATE orders SET order_type = ?, validity = ?, quantity = ?, price = ?, trigger_price = ?, day = ?,"
            " market_time = ?, updated_at = ?, state = ?, triggered = ?, modified = ?, filled = ?, traded_value = ?,"
            " text = ?, run = ?, rank = ? WHERE order_id = ?",
            (
                order.order_type,
                order.validity,
                order.quantity,
                str(order.price),
                str(order.trigger_price),
                order.day.isoformat(),
                order.market_time.isoformat(),
                order.updated_at.isoformat(),
                order.state,
                order.triggered,
                order.modified,
                order.filled,
                str(order.traded_value),
                order.text,
                order.run,
                order.rank,
                order.order_id,
            ),
        )
