"""The ledger's tables, and the queries that name order states.

Money is TEXT (exact decimals); times are ISO 8601 in UTC; days are exchange days.
"""

SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
    client_code TEXT PRIMARY KEY,
    pin TEXT NOT NULL,
    totp_secret TEXT NOT NULL,
    api_key TEXT NOT NULL,
    start_cash TEXT NOT NULL,
    cash TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS sessions (
    access_token TEXT PRIMARY KEY,
    refresh_token TEXT NOT NULL,
    feed_token TEXT NOT NULL,
    client_code TEXT NOT NULL REFERENCES accounts,
    access_expires_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS orders (
    order_id TEXT PRIMARY KEY,
    unique_id TEXT NOT NULL UNIQUE,
    number INTEGER NOT NULL UNIQUE,
    client_code TEXT NOT NULL REFERENCES accounts,
    tag TEXT NOT NULL,
    exchange TEXT NOT NULL,
    token TEXT NOT NULL,
    symbol TEXT NOT NULL,
    lot_size INTEGER NOT NULL,
    variety TEXT NOT NULL,
    order_type TEXT NOT NULL,
    product TEXT NOT NULL,
    validity TEXT NOT NULL,
    side TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    disclosed INTEGER NOT NULL,
    price TEXT NOT NULL,
    trigger_price TEXT NOT NULL,
    day TEXT NOT NULL,
    received_at TEXT NOT NULL,
    market_time TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    acknowledged INTEGER NOT NULL,
    state TEXT NOT NULL,
    triggered INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    filled INTEGER NOT NULL,
    traded_value TEXT NOT NULL,
    text TEXT NOT NULL,
    run TEXT NOT NULL,
    rank INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS orders_of_client ON orders (client_code, day, number);
CREATE INDEX IF NOT EXISTS orders_working ON orders (number)
    WHERE state IN ('open pending', 'open', 'trigger pending');

CREATE TABLE IF NOT EXISTS writes (
    client_code TEXT NOT NULL,
    second TEXT NOT NULL,
    exchange TEXT NOT NULL,
    op TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (client_code, second, exchange, op)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS trades (
    trade_id INTEGER PRIMARY KEY,
    order_id TEXT NOT NULL REFERENCES orders,
    client_code TEXT NOT NULL,
    exchange TEXT NOT NULL,
    token TEXT NOT NULL,
    symbol TEXT NOT NULL,
    product TEXT NOT NULL,
    side TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    price TEXT NOT NULL,
    fees TEXT NOT NULL,
    traded_at TEXT NOT NULL,
    day TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS trades_of_client ON trades (client_code, day, trade_id);
CREATE INDEX IF NOT EXISTS trades_of_order ON trades (order_id);

CREATE TABLE IF NOT EXISTS order_events (
    id INTEGER PRIMARY KEY,
    order_id TEXT NOT NULL,
    event TEXT NOT NULL,
    state TEXT NOT NULL,
    filled INTEGER NOT NULL,
    text TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS order_events_of_order ON order_events (order_id, id);
CREATE TRIGGER IF NOT EXISTS order_events_not_changed BEFORE UPDATE ON order_events
    BEGIN SELECT RAISE(ABORT, 'order_events is append-only'); END;
CREATE TRIGGER IF NOT EXISTS order_events_not_deleted BEFORE DELETE ON order_events
    BEGIN SELECT RAISE(ABORT, 'order_events is append-only'); END;

CREATE TABLE IF NOT EXISTS prices (
    key TEXT PRIMARY KEY,
    price TEXT NOT NULL,
    at TEXT NOT NULL,
    day TEXT NOT NULL,
    open TEXT NOT NULL,
    high TEXT NOT NULL,
    low TEXT NOT NULL,
    previous_close TEXT NOT NULL,
    volume INTEGER NOT NULL,
    last_quantity INTEGER NOT NULL,
    available INTEGER
) STRICT;

CREATE TABLE IF NOT EXISTS candles (
    key TEXT NOT NULL,
    start TEXT NOT NULL,
    open TEXT NOT NULL,
    high TEXT NOT NULL,
    low TEXT NOT NULL,
    close TEXT NOT NULL,
    volume INTEGER NOT NULL,
    PRIMARY KEY (key, start)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS steps (
    run TEXT NOT NULL,
    step INTEGER NOT NULL,
    request TEXT NOT NULL,
    answer TEXT NOT NULL,
    PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS state (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""

WORKING_ORDERS = """
SELECT * FROM orders WHERE state IN ('open pending', 'open', 'trigger pending') ORDER BY number
"""

COUNTS = """
SELECT
    client_code,
    count(*) AS orders,
    count(*) FILTER (WHERE state NOT IN ('open pending', 'open', 'trigger pending')) AS terminal
FROM orders
GROUP BY client_code
"""
