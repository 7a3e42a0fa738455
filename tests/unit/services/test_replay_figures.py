"""Our books against the exchange's ledger: every figure that differs is named."""

from decimal import Decimal

import pytest

from app.market_data.paper_market import LedgerSummary
from app.services.replays import ReplayFigures, differences

OURS = ReplayFigures(
    bars=375,
    signals=9,
    orders=8,
    fills=12,
    rejected=0,
    unknown=0,
    open_positions=0,
    realized_pnl=Decimal("-1520.35"),
    fees=Decimal("391.40"),
    p50_order_ms=None,
    p99_order_ms=None,
)
THEIRS = {"orders": 8, "trades": 12, "terminal": 8, "realized_pnl": "-1520.350000", "fees": "391.4", "cash": "1"}


def test_books_that_say_the_same_in_other_words_agree() -> None:
    assert differences(OURS, LedgerSummary.model_validate(THEIRS)) == []


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"trades": 11}, "fills"), ({"realized_pnl": "-1520.34"}, "realized_pnl"), ({"fees": "391.41"}, "fees")],
)
def test_each_difference_is_named_with_both_figures(changed: dict[str, object], named: str) -> None:
    (line,) = differences(OURS, LedgerSummary.model_validate(THEIRS | changed))
    assert line.startswith(f"{named}: ")
    assert str(next(iter(changed.values()))) in line
