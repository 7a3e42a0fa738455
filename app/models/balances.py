"""Cash of an account from our own ledger, and the comparisons with the broker's books."""

from datetime import date

from sqlalchemy import ForeignKey, Index, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.reconciliations import ReconciliationCause, ReconciliationVerdict
from app.models.base import Base, Id, Moment, Money, one_of


class BalanceRow(Base):
    """The cash that an account's ledger began with, and what the broker said last. Rupees.

    Present cash is `opening_cash` plus the cash flow and fees of the positions since; the flow before `opened_at` is
    kept in `flow_before`, so that it does not count.
    """

    __tablename__ = "balances"
    account_id: Mapped[Id] = mapped_column(ForeignKey("broker_accounts.id"), primary_key=True)
    opening_cash: Mapped[Money]
    flow_before: Mapped[Money]
    opened_at: Mapped[Moment] = mapped_column(server_default=func.clock_timestamp())
    broker_cash: Mapped[Money | None]
    broker_cash_at: Mapped[Moment | None]


class BalanceSnapshotRow(Base):
    """How an account stood at the end of a trading day. Rupees."""

    __tablename__ = "balance_snapshots"
    account_id: Mapped[Id] = mapped_column(ForeignKey("broker_accounts.id"), primary_key=True)
    trading_day: Mapped[date] = mapped_column(primary_key=True)
    cash: Mapped[Money]
    realized_pnl: Mapped[Money]
    unrealized_pnl: Mapped[Money | None]
    fees: Mapped[Money]
    broker_cash: Mapped[Money | None]
    taken_at: Mapped[Moment] = mapped_column(server_default=func.clock_timestamp())


class ReconciliationRow(Base):
    """One comparison of an account's books with its broker's."""

    __tablename__ = "reconciliations"
    id: Mapped[Id] = mapped_column(primary_key=True)
    account_id: Mapped[Id] = mapped_column(ForeignKey("broker_accounts.id"))
    cause: Mapped[str]
    verdict: Mapped[str]
    started_at: Mapped[Moment]
    finished_at: Mapped[Moment]
    counts: Mapped[dict[str, int]] = mapped_column(JSONB)
    differences: Mapped[list[dict[str, str]]] = mapped_column(JSONB)
    error: Mapped[str | None]
    __table_args__ = (
        one_of("cause", ReconciliationCause),
        one_of("verdict", ReconciliationVerdict),
        Index("ix_reconciliations_newest", "account_id", "id"),
    )


class ReconciliationRequestRow(Base):
    """A comparison that the keeper is asked to make; gone once its report is stored."""

    __tablename__ = "reconciliation_requests"
    account_id: Mapped[Id] = mapped_column(ForeignKey("broker_accounts.id"), primary_key=True)
    cause: Mapped[str] = mapped_column(primary_key=True)
    requested_at: Mapped[Moment] = mapped_column(server_default=func.clock_timestamp())
    __table_args__ = (one_of("cause", ReconciliationCause),)


class BookReadRow(Base):
    """When an account's whole order book of a trading day was read last."""

    __tablename__ = "book_reads"
    account_id: Mapped[Id] = mapped_column(ForeignKey("broker_accounts.id"), primary_key=True)
    trading_day: Mapped[date] = mapped_column(primary_key=True)
    read_at: Mapped[Moment]
