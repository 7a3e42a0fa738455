"""Balances and reconciliations on the wire."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.api.schemas import Moment, Rupees
from app.core.accounts import AccountMode
from app.core.balances import PriceDoubt
from app.core.reconciliations import DifferenceKind, ReconciliationCause, ReconciliationVerdict
from app.repositories.reconciliations import Reconciliation
from app.services.balances import AccountBalance, Figures

PAISA = Decimal("0.01")

Unrealized = Annotated[
    Rupees | None,
    Field(description="Of what is open, at last prices, before fees; null where one of the prices is not known"),
]
Doubt = Annotated[PriceDoubt | None, Field(description="Why there is no unrealized_pnl", examples=[None])]


class FiguresOut(BaseModel):
    """Profit and loss of one strategy, or of what people trade by hand."""

    strategy_id: UUID | None = Field(description="null: by hand, here or elsewhere")
    open_positions: int
    realized_pnl: Rupees = Field(description="Before fees")
    unrealized_pnl: Unrealized
    unrealized_doubt: Doubt
    fees: Rupees


class BrokersCash(BaseModel):
    """What the broker said last."""

    cash: Rupees
    at: Moment
    difference: Rupees | None = Field(description="The broker's cash less ours")


class BalanceOut(BaseModel):
    """How an account stands by our own ledger, beside what its broker says."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "account": "paper",
                    "mode": "PAPER",
                    "opening_cash": "1000000.00",
                    "opened_at": "2019-01-01T09:00:00+05:30",
                    "cash": "998171.64",
                    "realized_pnl": "0.00",
                    "unrealized_pnl": "2.50",
                    "unrealized_doubt": None,
                    "fees": "1.86",
                    "broker": {"cash": "998171.64", "at": "2019-01-01T09:16:30+05:30", "difference": "0.00"},
                    "strategies": [
                        {
                            "strategy_id": "019a9c2e-6f01-7b55-8c1d-2a7e9d4b6c30",
                            "open_positions": 1,
                            "realized_pnl": "0.00",
                            "unrealized_pnl": "2.50",
                            "unrealized_doubt": None,
                            "fees": "1.86",
                        }
                    ],
                }
            ]
        }
    )

    account: str
    mode: AccountMode
    opening_cash: Rupees | None = Field(description="null until a live account was read for the first time")
    opened_at: Moment | None
    cash: Rupees | None = Field(description="Opening cash, plus realised P&L, less fees and what open positions cost")
    realized_pnl: Rupees = Field(description="Before fees")
    unrealized_pnl: Unrealized
    unrealized_doubt: Doubt
    fees: Rupees
    broker: BrokersCash | None
    strategies: list[FiguresOut]

    @classmethod
    def of(cls, balance: AccountBalance) -> "BalanceOut":
        """Return the wire form of a balance."""
        ledger = balance.ledger
        figures = balance.figures
        broker = None
        if ledger.broker_cash is not None and ledger.broker_cash_at is not None:
            broker = BrokersCash(
                cash=rupees(ledger.broker_cash), at=ledger.broker_cash_at, difference=maybe_rupees(balance.difference)
            )
        by_strategy = sorted(balance.strategies.items(), key=lambda item: str(item[0] or ""))
        return cls(
            account=ledger.name,
            mode=ledger.mode,
            opening_cash=maybe_rupees(ledger.opening.cash if ledger.opening else None),
            opened_at=ledger.opened_at,
            cash=maybe_rupees(balance.cash),
            realized_pnl=rupees(figures.realized_pnl),
            unrealized_pnl=value_of(figures.unrealized_pnl),
            unrealized_doubt=doubt_of(figures.unrealized_pnl),
            fees=rupees(figures.fees),
            broker=broker,
            strategies=[_figures(strategy_id, own) for strategy_id, own in by_strategy],
        )


class BalanceList(BaseModel):
    """Accounts by name. Ask again with `cursor=next_cursor` for those that follow."""

    items: list[BalanceOut]
    next_cursor: str | None


class DifferenceOut(BaseModel):
    """One difference between our books and the broker's."""

    kind: DifferenceKind
    subject: str = Field(examples=["NSE:YESBANK-EQ MIS"])
    ours: str = Field(examples=["10"])
    theirs: str = Field(examples=["0"])


class ReconciliationOut(BaseModel):
    """One comparison of an account's books with its broker's."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "reconciliation_id": "019a9c2e-8a44-7d10-9a3e-4f5b6c7d8e90",
                    "account": "paper",
                    "cause": "START",
                    "verdict": "MISMATCH",
                    "started_at": "2019-01-01T09:16:00.100000+05:30",
                    "finished_at": "2019-01-01T09:16:02.230000+05:30",
                    "counts": {"positions": 2, "in_motion": 0, "differences": 1},
                    "differences": [{"kind": "POSITION", "subject": "NSE:YESBANK-EQ MIS", "ours": "10", "theirs": "0"}],
                    "error": None,
                }
            ]
        }
    )

    reconciliation_id: UUID
    account: str
    cause: ReconciliationCause
    verdict: ReconciliationVerdict = Field(description="UNREADABLE says nothing about the books")
    started_at: Moment
    finished_at: Moment
    counts: dict[str, int]
    differences: list[DifferenceOut]
    error: str | None = Field(description="Why the broker could not be read")

    @classmethod
    def of(cls, report: Reconciliation, *, account: str) -> "ReconciliationOut":
        """Return the wire form of a report."""
        return cls(
            reconciliation_id=report.id,
            account=account,
            cause=report.cause,
            verdict=report.verdict,
            started_at=report.started_at,
            finished_at=report.finished_at,
            counts=dict(report.counts),
            differences=[DifferenceOut.model_validate(dict(one)) for one in report.differences],
            error=report.error,
        )


class ReconciliationPage(BaseModel):
    """Reports, newest first. Ask again with `cursor=next_cursor` for older ones."""

    items: list[ReconciliationOut]
    next_cursor: UUID | None


class ReconciliationIn(BaseModel):
    """Which account to compare."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"account": "paper"}]})

    account: str = Field(min_length=1, max_length=64, description="Name of the broker account", examples=["paper"])


class ReconciliationRequested(BaseModel):
    """The keeper compares as soon as it can; its report has the cause `REQUEST`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"account": "paper", "cause": "REQUEST"}]})

    account: str
    cause: ReconciliationCause


def rupees(amount: Decimal) -> Decimal:
    """Return an amount to the paisa."""
    return amount.quantize(PAISA)


def maybe_rupees(amount: Decimal | None) -> Decimal | None:
    """Return an amount to the paisa, where there is one."""
    return None if amount is None else rupees(amount)


def value_of(figure: Decimal | PriceDoubt) -> Decimal | None:
    """Return a figure to the paisa, or None where it is a doubt."""
    return None if isinstance(figure, PriceDoubt) else rupees(figure)


def doubt_of(figure: Decimal | PriceDoubt) -> PriceDoubt | None:
    """Return why there is no figure."""
    return figure if isinstance(figure, PriceDoubt) else None


def _figures(strategy_id: UUID | None, figures: Figures) -> FiguresOut:
    return FiguresOut(
        strategy_id=strategy_id,
        open_positions=figures.open_positions,
        realized_pnl=rupees(figures.realized_pnl),
        unrealized_pnl=value_of(figures.unrealized_pnl),
        unrealized_doubt=doubt_of(figures.unrealized_pnl),
        fees=rupees(figures.fees),
    )
