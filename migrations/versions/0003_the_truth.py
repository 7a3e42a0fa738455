"""The truth about every order: modify and cancel, what settles UNKNOWN, balances, reconciliations, alerts, audit.

Revision: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


OLD_EVENTS = (
    "'CREATED', 'CLAIMED', 'ACCEPTED', 'REFUSED', 'NOT_SENT', 'THROTTLED', 'AMBIGUOUS', 'CLAIM_DIED', "
    "'DEADLINE_PASSED', 'PARTIAL_FILL', 'FULL_FILL', 'BROKER_REJECTED', 'BROKER_CANCELLED'"
)
EVENTS = (
    f"{OLD_EVENTS}, "
    "'PROVEN_ABSENT', 'CANCELLED_UNSENT', 'DAY_ENDED', 'MODIFIED', 'RAISED', 'LOWERED', 'RESOLVED_PLACED', "
    "'RESOLVED_ABSENT', 'RESOLVED_RESEND', 'DISCOVERED', 'MODIFY_REQUESTED', 'MODIFY_CLAIMED', "
    "'MODIFY_REFUSED', 'MODIFY_NOT_SENT', 'MODIFY_UNKNOWN', 'MODIFY_ABSENT', 'MODIFY_DROPPED', "
    "'CANCEL_REQUESTED', 'CANCEL_CLAIMED', 'CANCEL_ACCEPTED', 'CANCEL_REFUSED', 'CANCEL_NOT_SENT', "
    "'CANCEL_UNKNOWN', 'CANCEL_DROPPED', 'PARKED', 'REQUEUED', 'STATUS_UNRECOGNISED'"
)

OPEN = "status IN ('PENDING', 'SUBMITTING', 'PLACED', 'PARTIALLY_FILLED', 'UNKNOWN')"


def _check(table: str, name: str, condition: str) -> None:
    op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)


def _uncheck(table: str, name: str) -> None:
    op.drop_constraint(op.f(f"ck_{table}_{name}"), table, type_="check")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_table(
        "account_blocks",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.CheckConstraint("reason IN ('ORPHAN', 'MISMATCH', 'UNREADABLE')", name=op.f("ck_account_blocks_reason")),
        sa.ForeignKeyConstraint(["account_id"], ["broker_accounts.id"], name=op.f("fk_account_blocks_account_id")),
        sa.PrimaryKeyConstraint("account_id", "reason", name=op.f("pk_account_blocks")),
    )
    op.create_table(
        "balance_snapshots",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("trading_day", sa.Date(), nullable=False),
        sa.Column("cash", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("realized_pnl", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("unrealized_pnl", sa.Numeric(precision=24, scale=6), nullable=True),
        sa.Column("fees", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("broker_cash", sa.Numeric(precision=24, scale=6), nullable=True),
        sa.Column("taken_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["broker_accounts.id"], name=op.f("fk_balance_snapshots_account_id")),
        sa.PrimaryKeyConstraint("account_id", "trading_day", name=op.f("pk_balance_snapshots")),
    )
    op.create_table(
        "balances",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("opening_cash", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("flow_before", sa.Numeric(precision=24, scale=6), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("broker_cash", sa.Numeric(precision=24, scale=6), nullable=True),
        sa.Column("broker_cash_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["broker_accounts.id"], name=op.f("fk_balances_account_id")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_balances")),
    )
    op.create_table(
        "reconciliations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("counts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("differences", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "cause IN ('START', 'PERIODIC', 'DAY_END', 'REQUEST')", name=op.f("ck_reconciliations_cause")
        ),
        sa.CheckConstraint("verdict IN ('MATCH', 'MISMATCH', 'UNREADABLE')", name=op.f("ck_reconciliations_verdict")),
        sa.ForeignKeyConstraint(["account_id"], ["broker_accounts.id"], name=op.f("fk_reconciliations_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliations")),
    )
    op.create_index("ix_reconciliations_newest", "reconciliations", ["account_id", "id"], unique=False)
    op.create_table(
        "reconciliation_requests",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column(
            "requested_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "cause IN ('START', 'PERIODIC', 'DAY_END', 'REQUEST')", name=op.f("ck_reconciliation_requests_cause")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["broker_accounts.id"], name=op.f("fk_reconciliation_requests_account_id")
        ),
        sa.PrimaryKeyConstraint("account_id", "cause", name=op.f("pk_reconciliation_requests")),
    )
    op.create_table(
        "book_reads",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("trading_day", sa.Date(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["broker_accounts.id"], name=op.f("fk_book_reads_account_id")),
        sa.PrimaryKeyConstraint("account_id", "trading_day", name=op.f("pk_book_reads")),
    )
    op.create_table(
        "alerts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("order_id", sa.Uuid(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("count", sa.Integer(), server_default="1", nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('ORDER_UNKNOWN', 'ORDER_OVERFILLED', 'STATUS_UNRECOGNISED', 'ROW_UNREADABLE', 'ORPHAN_ORDER', 'EXTERNAL_ORDER', 'COMMAND_PARKED', 'EXIT_WAITING', 'BREAKER_OPEN', 'LOGIN_FAILING', 'SESSION_BROKEN', 'BROKER_UNREADABLE', 'POSITION_MISMATCH', 'CASH_MISMATCH', 'ORDER_MISMATCH', 'DAY_NOT_CLOSED')",
            name=op.f("ck_alerts_kind"),
        ),
        sa.CheckConstraint("severity IN ('INFO', 'WARNING', 'CRITICAL')", name=op.f("ck_alerts_severity")),
        sa.ForeignKeyConstraint(["account_id"], ["broker_accounts.id"], name=op.f("fk_alerts_account_id")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_alerts_order_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    op.create_index("uq_alerts_open", "alerts", ["kind", "subject"], unique=True, postgresql_where="closed_at IS NULL")
    op.add_column("broker_accounts", sa.Column("orders_per_minute", sa.Integer(), nullable=True))
    op.add_column("broker_accounts", sa.Column("orders_per_hour", sa.Integer(), nullable=True))
    op.add_column("broker_sessions", sa.Column("next_login_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("order_commands", sa.Column("attempt_limit", sa.Integer(), server_default="50", nullable=False))
    op.add_column("order_commands", sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("order_commands", sa.Column("caller", sa.Text(), nullable=True))
    op.add_column("order_commands", sa.Column("reason", sa.Text(), nullable=True))
    op.add_column("order_commands", sa.Column("crashes", sa.SmallInteger(), server_default="0", nullable=False))
    op.add_column("order_commands", sa.Column("quantity", sa.BigInteger(), nullable=True))
    op.add_column("order_commands", sa.Column("order_type", sa.Text(), nullable=True))
    op.add_column("order_commands", sa.Column("price", sa.Numeric(precision=18, scale=6), nullable=True))
    op.add_column("order_commands", sa.Column("trigger_price", sa.Numeric(precision=18, scale=6), nullable=True))
    op.create_index(
        "ix_order_commands_unsettled",
        "order_commands",
        ["account_id", "state"],
        unique=False,
        postgresql_where="state IN ('UNKNOWN', 'HELD', 'PARKED')",
    )
    op.create_index(
        "uq_order_commands_in_flight",
        "order_commands",
        ["order_id"],
        unique=True,
        postgresql_where="state = 'SUBMITTING'",
    )
    op.create_index(
        "uq_order_commands_open",
        "order_commands",
        ["order_id", "kind"],
        unique=True,
        postgresql_where="kind <> 'PLACE' AND state <> 'DONE'",
    )
    op.add_column("orders", sa.Column("purpose", sa.Text(), server_default="ENTRY", nullable=False))
    op.add_column("orders", sa.Column("origin", sa.Text(), server_default="SAUDA", nullable=False))
    op.add_column("orders", sa.Column("cancel_wanted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_orders_open_exits",
        "orders",
        ["account_id", "instrument_id"],
        unique=False,
        postgresql_where=f"purpose = 'EXIT' AND {OPEN}",
    )
    _uncheck("order_events", "event")
    _check("order_events", "event", f"event IN ({EVENTS})")
    _uncheck("order_commands", "kind")
    _check("order_commands", "kind", "kind IN ('PLACE', 'MODIFY', 'CANCEL')")
    _uncheck("order_commands", "state")
    _check("order_commands", "state", "state IN ('PENDING', 'SUBMITTING', 'UNKNOWN', 'HELD', 'PARKED', 'DONE')")
    _check(
        "order_commands", "modify_has_terms", "kind <> 'MODIFY' OR (quantity IS NOT NULL AND order_type IS NOT NULL)"
    )
    _check("orders", "purpose", "purpose IN ('ENTRY', 'EXIT')")
    _check("orders", "origin", "origin IN ('SAUDA', 'EXTERNAL', 'ORPHAN')")
    _check("broker_accounts", "orders_per_minute", "orders_per_minute > 0")
    _check("broker_accounts", "orders_per_hour", "orders_per_hour > 0")
    op.execute(
        "CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _uncheck("order_commands", "modify_has_terms")
    _uncheck("order_commands", "state")
    _check("order_commands", "state", "state IN ('PENDING', 'SUBMITTING', 'UNKNOWN', 'DONE')")
    _uncheck("order_commands", "kind")
    _check("order_commands", "kind", "kind IN ('PLACE')")
    _uncheck("order_events", "event")
    _check("order_events", "event", f"event IN ({OLD_EVENTS})")
    op.drop_index("ix_orders_open_exits", table_name="orders", postgresql_where=f"purpose = 'EXIT' AND {OPEN}")
    op.drop_column("orders", "cancel_wanted_at")
    op.drop_column("orders", "origin")
    op.drop_column("orders", "purpose")
    op.drop_index(
        "uq_order_commands_open", table_name="order_commands", postgresql_where="kind <> 'PLACE' AND state <> 'DONE'"
    )
    op.drop_index("uq_order_commands_in_flight", table_name="order_commands", postgresql_where="state = 'SUBMITTING'")
    op.drop_index(
        "ix_order_commands_unsettled",
        table_name="order_commands",
        postgresql_where="state IN ('UNKNOWN', 'HELD', 'PARKED')",
    )
    op.drop_column("order_commands", "trigger_price")
    op.drop_column("order_commands", "price")
    op.drop_column("order_commands", "order_type")
    op.drop_column("order_commands", "quantity")
    op.drop_column("order_commands", "crashes")
    op.drop_column("order_commands", "reason")
    op.drop_column("order_commands", "caller")
    op.drop_column("order_commands", "claimed_at")
    op.drop_column("order_commands", "attempt_limit")
    op.drop_column("broker_sessions", "next_login_at")
    op.drop_column("broker_accounts", "orders_per_hour")
    op.drop_column("broker_accounts", "orders_per_minute")
    op.drop_index("uq_alerts_open", table_name="alerts", postgresql_where="closed_at IS NULL")
    op.drop_table("alerts")
    op.drop_table("book_reads")
    op.drop_table("reconciliation_requests")
    op.drop_index("ix_reconciliations_newest", table_name="reconciliations")
    op.drop_table("reconciliations")
    op.drop_table("balances")
    op.drop_table("balance_snapshots")
    op.drop_table("account_blocks")
    op.drop_table("audit_log")
