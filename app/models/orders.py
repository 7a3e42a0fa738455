"""Orders, the commands on them, their history, and the answers given for idempotency keys."""

from datetime import date

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.commands import CommandKind, CommandState
from app.core.orders import OrderOrigin, OrderStatus, OrderType, Product, Purpose, Side, Urgency, Validity
from app.core.transitions import OrderEvent
from app.models.base import Base, Id, Moment, Price, one_of


class OrderRow(Base):
    """One intent that we took responsibility for."""

    __tablename__ = "orders"
    id: Mapped[Id] = mapped_column(primary_key=True)
    account_id: Mapped[Id] = mapped_column(ForeignKey("broker_accounts.id"))
    client_order_id: Mapped[str]
    tag: Mapped[str]
    caller: Mapped[str]
    strategy_id: Mapped[Id | None] = mapped_column(ForeignKey("strategies.id"))
    instrument_id: Mapped[Id] = mapped_column(ForeignKey("instruments.id"))
    side: Mapped[str]
    quantity: Mapped[int] = mapped_column(BigInteger)
    order_type: Mapped[str]
    product: Mapped[str]
    validity: Mapped[str]
    urgency: Mapped[str]
    purpose: Mapped[str] = mapped_column(server_default="ENTRY")
    origin: Mapped[str] = mapped_column(server_default="SAUDA")
    price: Mapped[Price | None]
    trigger_price: Mapped[Price | None]
    deadline: Mapped[Moment | None]
    status: Mapped[str]
    status_reason: Mapped[str | None]
    broker_order_id: Mapped[str | None]
    broker_unique_id: Mapped[str | None]
    filled_quantity: Mapped[int] = mapped_column(BigInteger)
    average_price: Mapped[Price | None]
    trading_day: Mapped[date]
    market_time: Mapped[Moment]
    received_at: Mapped[Moment]
    saved_at: Mapped[Moment] = mapped_column(server_default=func.clock_timestamp())
    rung_at: Mapped[Moment | None]
    claimed_at: Mapped[Moment | None]
    sent_at: Mapped[Moment | None]
    acknowledged_at: Mapped[Moment | None]
    first_fill_at: Mapped[Moment | None]
    done_at: Mapped[Moment | None]
    cancel_wanted_at: Mapped[Moment | None]
    __table_args__ = (
        UniqueConstraint("account_id", "client_order_id"),
        UniqueConstraint("account_id", "tag"),
        UniqueConstraint("account_id", "broker_order_id"),
        one_of("side", Side),
        one_of("order_type", OrderType),
        one_of("product", Product),
        one_of("validity", Validity),
        one_of("urgency", Urgency),
        one_of("purpose", Purpose),
        one_of("origin", OrderOrigin),
        one_of("status", OrderStatus),
        CheckConstraint("quantity > 0", name="quantity"),
        # No upper bound: should a broker trade more than was ordered, the truth must still fit in.
        CheckConstraint("filled_quantity >= 0", name="filled_quantity"),
        CheckConstraint("price > 0", name="price"),
        CheckConstraint("trigger_price > 0", name="trigger_price"),
        # Lists are read newest first: per account, per strategy, or all; UUIDv7 ids sort by time.
        Index("ix_orders_account_newest", "account_id", "id"),
        Index("ix_orders_strategy_newest", "strategy_id", "id", postgresql_where="strategy_id IS NOT NULL"),
        Index(
            "ix_orders_open",
            "account_id",
            "status",
            postgresql_where="status IN ('PENDING', 'SUBMITTING', 'PLACED', 'PARTIALLY_FILLED', 'UNKNOWN')",
        ),
        # What is on its way to reduce a position, and exits that wait.
        Index(
            "ix_orders_open_exits",
            "account_id",
            "instrument_id",
            postgresql_where="purpose = 'EXIT' AND status IN "
            "('PENDING', 'SUBMITTING', 'PLACED', 'PARTIALLY_FILLED', 'UNKNOWN')",
        ),
    )


class OrderCommandRow(Base):
    """One command on an order. `send_by` is database time: past it the claim's owner writes nothing any more.

    `attempt_limit` says how many claims it may have before it is parked; attempts count on when a person requeues it.
    `quantity` to `trigger_price` are the terms that a MODIFY wants; `reason` says why a command ended, is
    parked, or crashed last; `crashes` counts crashes of that reason in a row.
    """

    __tablename__ = "order_commands"
    id: Mapped[Id] = mapped_column(primary_key=True)
    order_id: Mapped[Id] = mapped_column(ForeignKey("orders.id"))
    account_id: Mapped[Id] = mapped_column(ForeignKey("broker_accounts.id"))
    kind: Mapped[str]
    state: Mapped[str]
    urgency: Mapped[str]
    band: Mapped[int] = mapped_column(SmallInteger)
    attempt: Mapped[int]
    attempt_limit: Mapped[int] = mapped_column(server_default="50")
    send_by: Mapped[Moment | None]
    claimed_by: Mapped[str | None]
    claimed_at: Mapped[Moment | None]
    ring_after: Mapped[Moment]
    created_at: Mapped[Moment] = mapped_column(server_default=func.clock_timestamp())
    caller: Mapped[str | None]
    reason: Mapped[str | None]
    crashes: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    quantity: Mapped[int | None] = mapped_column(BigInteger)
    order_type: Mapped[str | None]
    price: Mapped[Price | None]
    trigger_price: Mapped[Price | None]
    __table_args__ = (
        one_of("kind", CommandKind),
        one_of("state", CommandState),
        CheckConstraint("attempt >= 0", name="attempt"),
        CheckConstraint("state <> 'SUBMITTING' OR send_by IS NOT NULL", name="claimed_has_send_by"),
        Index("ix_order_commands_order", "order_id"),
        # The sweep: what waits unrung, most urgent first, then oldest.
        Index("ix_order_commands_waiting", text("band DESC"), "created_at", postgresql_where="state = 'PENDING'"),
        Index("ix_order_commands_claimed", "send_by", postgresql_where="state = 'SUBMITTING'"),
        # What waits for evidence, for its order or for a person.
        Index(
            "ix_order_commands_unsettled",
            "account_id",
            "state",
            postgresql_where="state IN ('UNKNOWN', 'HELD', 'PARKED')",
        ),
        # One command of an order is on its way at a time; and no second change or cancel waits beside the first.
        Index("uq_order_commands_in_flight", "order_id", unique=True, postgresql_where="state = 'SUBMITTING'"),
        Index(
            "uq_order_commands_open",
            "order_id",
            "kind",
            unique=True,
            postgresql_where="kind <> 'PLACE' AND state <> 'DONE'",
        ),
        CheckConstraint(
            "kind <> 'MODIFY' OR (quantity IS NOT NULL AND order_type IS NOT NULL)", name="modify_has_terms"
        ),
    )


class OrderEventRow(Base):
    """What happened to an order, in the order in which it was recorded. Append-only: a trigger refuses the rest."""

    __tablename__ = "order_events"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    order_id: Mapped[Id] = mapped_column(ForeignKey("orders.id"))
    event: Mapped[str]
    status: Mapped[str]
    at: Mapped[Moment] = mapped_column(server_default=func.clock_timestamp())
    actor: Mapped[str]
    detail: Mapped[dict[str, str]] = mapped_column(JSONB, server_default="{}")
    __table_args__ = (
        one_of("event", OrderEvent),
        one_of("status", OrderStatus),
        Index("ix_order_events_order", "order_id", "id"),
    )


class IdempotencyKeyRow(Base):
    """The first answer that a caller's key was given, refusals too."""

    __tablename__ = "idempotency_keys"
    caller: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    body_hash: Mapped[bytes] = mapped_column(LargeBinary)
    response: Mapped[str]
    created_at: Mapped[Moment] = mapped_column(server_default=func.clock_timestamp())
