"""The spine: accounts, instruments, orders, fills, positions.

Revision: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "broker_accounts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("broker", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("client_code", sa.Text(), nullable=False),
        sa.Column("credentials", sa.LargeBinary(), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=True),
        sa.Column("market_source", sa.Text(), nullable=False),
        sa.Column("orders_per_second", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("mode IN ('PAPER', 'LIVE')", name=op.f("ck_broker_accounts_mode")),
        sa.CheckConstraint("status IN ('ACTIVE', 'PAUSED')", name=op.f("ck_broker_accounts_status")),
        sa.CheckConstraint("orders_per_second > 0", name=op.f("ck_broker_accounts_orders_per_second")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_broker_accounts")),
        sa.UniqueConstraint("broker", "mode", "client_code", name=op.f("uq_broker_accounts_broker_mode_client_code")),
        sa.UniqueConstraint("name", name=op.f("uq_broker_accounts_name")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(), nullable=False),
        sa.Column("response", sa.Text(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_table(
        "instruments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("tick_size", sa.Numeric(precision=18, scale=6), nullable=False),
        sa.Column("lot_size", sa.Integer(), nullable=False),
        sa.Column("freeze_quantity", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "exchange IN ('NSE', 'BSE', 'NFO', 'BFO', 'CDS', 'MCX')", name=op.f("ck_instruments_exchange")
        ),
        sa.CheckConstraint("kind IN ('EQUITY', 'ETF', 'INDEX', 'FUTURE', 'OPTION')", name=op.f("ck_instruments_kind")),
        sa.CheckConstraint("lot_size > 0", name=op.f("ck_instruments_lot_size")),
        sa.CheckConstraint("tick_size > 0", name=op.f("ck_instruments_tick_size")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instruments")),
        sa.UniqueConstraint("exchange", "symbol", name=op.f("uq_instruments_exchange_symbol")),
    )
    op.create_table(
        "leases",
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("epoch > 0", name=op.f("ck_leases_epoch")),
        sa.PrimaryKeyConstraint("role", name=op.f("pk_leases")),
    )
    op.create_table(
        "market_clock",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("market_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("trading_day", sa.Date(), nullable=False),
        sa.Column("ticks", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_market_clock")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("role IN ('ADMIN')", name=op.f("ck_users_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("username", name=op.f("uq_users_username")),
    )
    op.create_table(
        "bars",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("open", sa.Numeric(precision=18, scale=6), nullable=False),
        sa.Column("high", sa.Numeric(precision=18, scale=6), nullable=False),
        sa.Column("low", sa.Numeric(precision=18, scale=6), nullable=False),
        sa.Column("close", sa.Numeric(precision=18, scale=6), nullable=False),
        sa.Column("volume", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("low <= least(open, close) AND high >= greatest(open, close)", name=op.f("ck_bars_prices")),
        sa.CheckConstraint("volume >= 0", name=op.f("ck_bars_volume")),
        sa.ForeignKeyConstraint(["instrument_id"], ["instruments.id"], name=op.f("fk_bars_instrument_id")),
        sa.PrimaryKeyConstraint("source", "instrument_id", "start", name=op.f("pk_bars")),
    )
    op.create_table(
        "broker_sessions",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.LargeBinary(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.SmallInteger(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('LOGGED_OUT', 'LOGGED_IN', 'EXPIRED', 'BROKEN')", name=op.f("ck_broker_sessions_state")
        ),
        sa.ForeignKeyConstraint(["account_id"], ["broker_accounts.id"], name=op.f("fk_broker_sessions_account_id")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_broker_sessions")),
    )
    op.create_table(
        "broker_symbols",
        sa.Column("broker", sa.Text(), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("trading_symbol", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["instrument_id"], ["instruments.id"], name=op.f("fk_broker_symbols_instrument_id")),
        sa.PrimaryKeyConstraint("broker", "instrument_id", name=op.f("pk_broker_symbols")),
    )
    op.create_table(
        "replays",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("speed", sa.Numeric(precision=10, scale=3), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("bars_done", sa.Integer(), nullable=False),
        sa.Column("bars_total", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('REQUESTED', 'RUNNING', 'DONE', 'FAILED')", name=op.f("ck_replays_state")),
        sa.CheckConstraint("speed >= 0", name=op.f("ck_replays_speed")),
        sa.ForeignKeyConstraint(["account_id"], ["broker_accounts.id"], name=op.f("fk_replays_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replays")),
        sa.UniqueConstraint("source", name=op.f("uq_replays_source")),
    )
    op.create_index(
        "ix_replays_open",
        "replays",
        ["requested_at"],
        unique=False,
        postgresql_where="state IN ('REQUESTED', 'RUNNING')",
    )
    op.create_table(
        "strategies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("parameters", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("step_done", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["account_id"], ["broker_accounts.id"], name=op.f("fk_strategies_account_id")),
        sa.ForeignKeyConstraint(["instrument_id"], ["instruments.id"], name=op.f("fk_strategies_instrument_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_strategies")),
        sa.UniqueConstraint("account_id", "name", name=op.f("uq_strategies_account_id_name")),
    )
    op.create_index("ix_strategies_source", "strategies", ["source"], unique=False, postgresql_where="enabled")
    op.create_table(
        "orders",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("strategy_id", sa.Uuid(), nullable=True),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("order_type", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("validity", sa.Text(), nullable=False),
        sa.Column("urgency", sa.Text(), nullable=False),
        sa.Column("price", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column("trigger_price", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column("deadline", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column("broker_order_id", sa.Text(), nullable=True),
        sa.Column("broker_unique_id", sa.Text(), nullable=True),
        sa.Column("filled_quantity", sa.BigInteger(), nullable=False),
        sa.Column("average_price", sa.Numeric(precision=18, scale=6), nullable=True),
        sa.Column("trading_day", sa.Date(), nullable=False),
        sa.Column("market_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("saved_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("rung_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_fill_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("order_type IN ('MARKET', 'LIMIT', 'SL', 'SL-M')", name=op.f("ck_orders_order_type")),
        sa.CheckConstraint("product IN ('MIS', 'CNC', 'NRML')", name=op.f("ck_orders_product")),
        sa.CheckConstraint("side IN ('BUY', 'SELL')", name=op.f("ck_orders_side")),
        sa.CheckConstraint(
            "status IN ('PENDING', 'SUBMITTING', 'PLACED', 'PARTIALLY_FILLED', 'COMPLETE', 'UNKNOWN', 'REJECTED', 'CANCELLED', 'EXPIRED')",
            name=op.f("ck_orders_status"),
        ),
        sa.CheckConstraint("urgency IN ('NORMAL', 'HIGH', 'CRITICAL', 'STOP_LOSS')", name=op.f("ck_orders_urgency")),
        sa.CheckConstraint("validity IN ('DAY', 'IOC')", name=op.f("ck_orders_validity")),
        sa.CheckConstraint("filled_quantity >= 0", name=op.f("ck_orders_filled_quantity")),
        sa.CheckConstraint("price > 0", name=op.f("ck_orders_price")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_orders_quantity")),
        sa.CheckConstraint("trigger_price > 0", name=op.f("ck_orders_trigger_price")),
        sa.ForeignKeyConstraint(["account_id"], ["broker_accounts.id"], name=op.f("fk_orders_account_id")),
        sa.ForeignKeyConstraint(["instrument_id"], ["instruments.id"], name=op.f("fk_orders_instrument_id")),
        sa.ForeignKeyConstraint(["strategy_id"], ["strategies.id"], name=op.f("fk_orders_strategy_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
        sa.UniqueConstraint("account_id", "broker_order_id", name=op.f("uq_orders_account_id_broker_order_id")),
        sa.UniqueConstraint("account_id", "client_order_id", name=op.f("uq_orders_account_id_client_order_id")),
        sa.UniqueConstraint("account_id", "tag", name=op.f("uq_orders_account_id_tag")),
    )
    op.create_index("ix_orders_account_newest", "orders", ["account_id", "id"], unique=False)
    op.create_index(
        "ix_orders_open",
        "orders",
        ["account_id", "status"],
        unique=False,
        postgresql_where="status IN ('PENDING', 'SUBMITTING', 'PLACED', 'PARTIALLY_FILLED', 'UNKNOWN')",
    )
    op.create_index(
        "ix_orders_strategy_newest",
        "orders",
        ["strategy_id", "id"],
        unique=False,
        postgresql_where="strategy_id IS NOT NULL",
    )
    op.create_table(
        "positions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("strategy_id", sa.Uuid(), nullable=True),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("open_cost", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("realized_pnl", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("fees", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("buy_quantity", sa.BigInteger(), nullable=False),
        sa.Column("sell_quantity", sa.BigInteger(), nullable=False),
        sa.Column("last_fill_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_fill_order", sa.Text(), nullable=True),
        sa.Column("last_fill_trade", sa.Text(), nullable=True),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("product IN ('MIS', 'CNC', 'NRML')", name=op.f("ck_positions_product")),
        sa.CheckConstraint("quantity <> 0 OR open_cost = 0", name=op.f("ck_positions_flat_has_no_cost")),
        sa.CheckConstraint("quantity = buy_quantity - sell_quantity", name=op.f("ck_positions_quantity")),
        sa.ForeignKeyConstraint(["account_id"], ["broker_accounts.id"], name=op.f("fk_positions_account_id")),
        sa.ForeignKeyConstraint(["instrument_id"], ["instruments.id"], name=op.f("fk_positions_instrument_id")),
        sa.ForeignKeyConstraint(["strategy_id"], ["strategies.id"], name=op.f("fk_positions_strategy_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_positions")),
        sa.UniqueConstraint(
            "account_id",
            "strategy_id",
            "instrument_id",
            "product",
            name=op.f("uq_positions_account_id_strategy_id_instrument_id_product"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_table(
        "signals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("strategy_id", sa.Uuid(), nullable=False),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("market_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("trace", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("kind IN ('ENTRY', 'EXIT', 'STOP', 'SQUARE_OFF')", name=op.f("ck_signals_kind")),
        sa.CheckConstraint("side IN ('BUY', 'SELL')", name=op.f("ck_signals_side")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_signals_quantity")),
        sa.ForeignKeyConstraint(["instrument_id"], ["instruments.id"], name=op.f("fk_signals_instrument_id")),
        sa.ForeignKeyConstraint(["strategy_id"], ["strategies.id"], name=op.f("fk_signals_strategy_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signals")),
        sa.UniqueConstraint("strategy_id", "client_order_id", name=op.f("uq_signals_strategy_id_client_order_id")),
    )
    op.create_table(
        "fills",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("trade_date", sa.Date(), nullable=False),
        sa.Column("broker_order_id", sa.Text(), nullable=False),
        sa.Column("trade_id", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("strategy_id", sa.Uuid(), nullable=True),
        sa.Column("instrument_id", sa.Uuid(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.Numeric(precision=18, scale=6), nullable=False),
        sa.Column("fees", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("traded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("exchange IN ('NSE', 'BSE', 'NFO', 'BFO', 'CDS', 'MCX')", name=op.f("ck_fills_exchange")),
        sa.CheckConstraint("product IN ('MIS', 'CNC', 'NRML')", name=op.f("ck_fills_product")),
        sa.CheckConstraint("side IN ('BUY', 'SELL')", name=op.f("ck_fills_side")),
        sa.CheckConstraint("price > 0", name=op.f("ck_fills_price")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_fills_quantity")),
        sa.ForeignKeyConstraint(["account_id"], ["broker_accounts.id"], name=op.f("fk_fills_account_id")),
        sa.ForeignKeyConstraint(["instrument_id"], ["instruments.id"], name=op.f("fk_fills_instrument_id")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_fills_order_id")),
        sa.ForeignKeyConstraint(["strategy_id"], ["strategies.id"], name=op.f("fk_fills_strategy_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fills")),
        sa.UniqueConstraint(
            "account_id",
            "exchange",
            "trade_date",
            "broker_order_id",
            "trade_id",
            name=op.f("uq_fills_account_id_exchange_trade_date_broker_order_id_trade_id"),
        ),
    )
    op.create_index("ix_fills_account_newest", "fills", ["account_id", "id"], unique=False)
    op.create_index("ix_fills_order", "fills", ["order_id"], unique=False)
    op.create_index(
        "ix_fills_position", "fills", ["account_id", "instrument_id", "product", "strategy_id"], unique=False
    )
    op.create_table(
        "order_commands",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("urgency", sa.Text(), nullable=False),
        sa.Column("band", sa.SmallInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("send_by", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("ring_after", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("kind IN ('PLACE')", name=op.f("ck_order_commands_kind")),
        sa.CheckConstraint(
            "state <> 'SUBMITTING' OR send_by IS NOT NULL", name=op.f("ck_order_commands_claimed_has_send_by")
        ),
        sa.CheckConstraint(
            "state IN ('PENDING', 'SUBMITTING', 'UNKNOWN', 'DONE')", name=op.f("ck_order_commands_state")
        ),
        sa.CheckConstraint("attempt >= 0", name=op.f("ck_order_commands_attempt")),
        sa.ForeignKeyConstraint(["account_id"], ["broker_accounts.id"], name=op.f("fk_order_commands_account_id")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_commands_order_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_commands")),
    )
    op.create_index(
        "ix_order_commands_claimed",
        "order_commands",
        ["send_by"],
        unique=False,
        postgresql_where="state = 'SUBMITTING'",
    )
    op.create_index("ix_order_commands_order", "order_commands", ["order_id"], unique=False)
    op.create_index(
        "ix_order_commands_waiting",
        "order_commands",
        [sa.literal_column("band DESC"), "created_at"],
        unique=False,
        postgresql_where="state = 'PENDING'",
    )
    op.create_table(
        "order_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("order_id", sa.Uuid(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.CheckConstraint(
            "event IN ('CREATED', 'CLAIMED', 'ACCEPTED', 'REFUSED', 'NOT_SENT', 'THROTTLED', 'AMBIGUOUS', 'CLAIM_DIED', 'DEADLINE_PASSED', 'PARTIAL_FILL', 'FULL_FILL', 'BROKER_REJECTED', 'BROKER_CANCELLED')",
            name=op.f("ck_order_events_event"),
        ),
        sa.CheckConstraint(
            "status IN ('PENDING', 'SUBMITTING', 'PLACED', 'PARTIALLY_FILLED', 'COMPLETE', 'UNKNOWN', 'REJECTED', 'CANCELLED', 'EXPIRED')",
            name=op.f("ck_order_events_status"),
        ),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_events_order_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_events")),
    )
    op.create_index("ix_order_events_order", "order_events", ["order_id", "id"], unique=False)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("ix_order_events_order", table_name="order_events")
    op.drop_table("order_events")
    op.drop_index("ix_order_commands_waiting", table_name="order_commands", postgresql_where="state = 'PENDING'")
    op.drop_index("ix_order_commands_order", table_name="order_commands")
    op.drop_index("ix_order_commands_claimed", table_name="order_commands", postgresql_where="state = 'SUBMITTING'")
    op.drop_table("order_commands")
    op.drop_index("ix_fills_position", table_name="fills")
    op.drop_index("ix_fills_order", table_name="fills")
    op.drop_index("ix_fills_account_newest", table_name="fills")
    op.drop_table("fills")
    op.drop_table("signals")
    op.drop_table("positions")
    op.drop_index("ix_orders_strategy_newest", table_name="orders", postgresql_where="strategy_id IS NOT NULL")
    op.drop_index(
        "ix_orders_open",
        table_name="orders",
        postgresql_where="status IN ('PENDING', 'SUBMITTING', 'PLACED', 'PARTIALLY_FILLED', 'UNKNOWN')",
    )
    op.drop_index("ix_orders_account_newest", table_name="orders")
    op.drop_table("orders")
    op.drop_index("ix_strategies_source", table_name="strategies", postgresql_where="enabled")
    op.drop_table("strategies")
    op.drop_index("ix_replays_open", table_name="replays", postgresql_where="state IN ('REQUESTED', 'RUNNING')")
    op.drop_table("replays")
    op.drop_table("broker_symbols")
    op.drop_table("broker_sessions")
    op.drop_table("bars")
    op.drop_table("users")
    op.drop_table("market_clock")
    op.drop_table("leases")
    op.drop_table("instruments")
    op.drop_table("idempotency_keys")
    op.drop_table("broker_accounts")
