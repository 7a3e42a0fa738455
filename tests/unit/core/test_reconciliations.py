"""What counts as a difference between our books and a broker's, and when."""

from decimal import Decimal

import pytest

from app.core.instruments import Exchange
from app.core.orders import Product
from app.core.reconciliations import (
    BrokersBooks,
    Comparison,
    DifferenceKind,
    Holding,
    Line,
    OurBooks,
    Suspicions,
    Symbol,
    compare,
    money,
)

YESBANK = Symbol(Exchange.NSE, "YESBANK-EQ")
OTHER = Symbol(Exchange.NSE, "JUNIORBEES-EQ")
LINE = Line(YESBANK, Product.MIS)


def ours(
    quantity: int = 10, traded: int = 10, cash: str | None = "100.00", moving: frozenset[Symbol] = frozenset()
) -> OurBooks:
    return OurBooks(
        holdings={LINE: Holding(quantity, traded)}, cash=None if cash is None else Decimal(cash), moving=moving
    )


def theirs(quantity: int = 10, cash: str = "100", line: Line = LINE) -> BrokersBooks:
    return BrokersBooks(quantities={line: quantity}, cash=Decimal(cash))


def found(comparison: Comparison) -> list[tuple[DifferenceKind, str, str]]:
    return [(one.kind, one.ours, one.theirs) for one in comparison.differences]


def test_equal_books_match_however_the_same_amount_is_written() -> None:
    assert compare(ours(), theirs(), ours()).differences == ()
    assert compare(ours(cash="100.000000"), theirs(cash="1E+2"), ours(cash="100.0")).differences == ()


@pytest.mark.parametrize("product", [Product.CNC, Product.NRML])
def test_a_line_that_only_one_side_has_differs(product: Product) -> None:
    comparison = compare(ours(), theirs(7, line=Line(YESBANK, product)), ours())
    assert sorted(found(comparison), key=str) == [
        (DifferenceKind.POSITION, "0", "7"),
        (DifferenceKind.POSITION, "10", "0"),
    ]


def test_a_flat_line_is_the_same_as_none() -> None:
    assert compare(ours(0, 20), BrokersBooks(quantities={}, cash=Decimal(100)), ours(0, 20)).differences == ()
    assert compare(ours(), theirs(), ours()).compared == 1


def test_an_order_on_its_way_explains_its_instrument_and_the_cash() -> None:
    moving = ours(moving=frozenset({YESBANK}))
    for before, after in ((moving, ours()), (ours(), moving)):
        comparison = compare(before, theirs(99, cash="5"), after)
        assert (comparison.differences, comparison.skipped) == ((), 1)
    elsewhere = ours(moving=frozenset({OTHER}))
    assert found(compare(elsewhere, theirs(99, cash="5"), elsewhere)) == [(DifferenceKind.POSITION, "10", "99")]


def test_a_fill_during_the_reading_makes_it_no_comparison() -> None:
    comparison = compare(ours(10, 10), theirs(20, cash="7"), ours(10, 30))
    assert (comparison.differences, comparison.skipped) == ((), 1)


def test_cash_counts_only_where_a_ledger_was_opened_and_nothing_moved() -> None:
    assert found(compare(ours(cash="99.99"), theirs(), ours(cash="99.99"))) == [
        (DifferenceKind.CASH, "99.99", "100.00")
    ]
    assert compare(ours(cash=None), theirs(), ours(cash=None)).differences == ()
    assert compare(ours(cash="98"), theirs(), ours(cash="99")).differences == ()


def test_a_difference_counts_at_its_second_sight_and_starts_anew_when_it_changes() -> None:
    suspicions = Suspicions(settles_after_s=2.0, explained_for_s=30.0)
    first = compare(ours(), theirs(12), ours()).differences
    assert suspicions.confirm(first, unrecorded=(), now=0.0) == ([], 1)
    assert suspicions.confirm(first, unrecorded=(), now=1.9) == ([], 1)
    assert suspicions.confirm(first, unrecorded=(), now=2.0) == ([*first], 0)
    more = compare(ours(), theirs(13), ours()).differences
    assert suspicions.confirm(more, unrecorded=(), now=4.0) == ([], 1)
    # A fill of ours between two sights makes it another difference, although the figures are the same.
    traded = compare(ours(10, 30), theirs(13), ours(10, 30)).differences
    assert suspicions.confirm(traded, unrecorded=(), now=6.0) == ([], 1)
    assert suspicions.confirm([], unrecorded=(), now=7.0) == ([], 0)
    assert suspicions.confirm(traded, unrecorded=(), now=8.0) == ([], 1)


def test_a_trade_that_is_not_recorded_yet_explains_for_a_while() -> None:
    suspicions = Suspicions(settles_after_s=2.0, explained_for_s=30.0)
    seen = compare(ours(cash="99"), theirs(12), ours(cash="99")).differences
    assert len(seen) == 2
    for now in (0.0, 10.0, 29.9):
        assert suspicions.confirm(seen, unrecorded={YESBANK}, now=now) == ([], 2)
    assert suspicions.confirm(seen, unrecorded={YESBANK}, now=30.0) == ([*seen], 0)
    assert suspicions.confirm(seen, unrecorded={OTHER}, now=30.0)[0] == [*seen]


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("1000000", "1000000.00"), ("1E+6", "1000000.00"), ("0.005", "0.005"), ("-12.30", "-12.30"), ("0", "0.00")],
)
def test_money_is_shown_whole(amount: str, shown: str) -> None:
    assert money(Decimal(amount)) == shown
