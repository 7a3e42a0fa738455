"""The judge itself: each violation is seen, and honest outcomes are not called violations."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from app.core.orders import OrderStatus, Side
from tests.chaos.evidence import Evidence, Held, LedgerOrder, OurOrder, Terms, Trade
from tests.chaos.verdict import COUNTS, Verdict, judge

HELD = Held("a", "11915", "MIS")
TERMS = Terms("LIMIT", 5, Decimal("182.65"), Decimal(0))
STOP = Terms("SL-M", 5, Decimal(0), Decimal(180))
"""For all that a book tells, a limit order could be this one, triggered."""

ROW = LedgerOrder(
    order_id="1",
    tag="T",
    held=HELD,
    side=Side.BUY,
    terms=TERMS,
    filled=5,
    status="complete",
    received_at=datetime(2026, 11, 21, tzinfo=UTC),
)
WORKING_ROW = replace(ROW, filled=0, status="open")
OURS = OurOrder(
    id=UUID(int=1),
    tag="T",
    held=HELD,
    side=Side.BUY,
    terms=TERMS,
    status=OrderStatus.COMPLETE,
    reason=None,
    broker_order_id="1",
    filled=5,
)
UNSENT = replace(OURS, filled=0, broker_order_id=None)
UNKNOWN = replace(UNSENT, status=OrderStatus.UNKNOWN)
OTHER_UNKNOWN = replace(UNKNOWN, id=UUID(int=2), tag="U")
OTHER_ROW = replace(WORKING_ROW, order_id="2", tag="U")
FEES = Decimal("0.50")
START_CASH = Decimal(1_000)


def trades(orders: list[tuple[str | None, int]]) -> list[Trade]:
    """Return one trade for each order that traded: its broker id and quantity."""
    return [
        Trade("a", order_id, f"T{order_id}", quantity, TERMS.price, FEES) for order_id, quantity in orders if order_id
    ]


def spent(made: list[Trade]) -> Decimal:
    """Return what buying these cost."""
    return sum((trade.quantity * trade.price + trade.fees for trade in made), Decimal(0))


def evidence(ours: list[OurOrder], rows: list[LedgerOrder], *, tag_mode: str = "book") -> Evidence:
    """Return evidence in which trades, positions and cash follow from the orders on each side."""
    our_trades = trades([(order.broker_order_id, order.filled) for order in ours if order.filled])
    ledger_trades = trades([(row.order_id, row.filled) for row in rows if row.filled])
    return Evidence(
        tag_mode=tag_mode,
        accepted=["T"],
        cancelled=frozenset(),
        ours=ours,
        ledger=rows,
        our_trades=our_trades,
        ledger_trades=ledger_trades,
        positions={HELD: sum(trade.quantity for trade in our_trades)},
        cash={"a": START_CASH - spent(our_trades)},
        ledger_cash={"a": START_CASH - spent(ledger_trades)},
    )


def wrong(verdict: Verdict) -> set[str]:
    """Return the names of the counts that are not zero."""
    return {name for name in COUNTS if getattr(verdict, name)} | ({"cash_mismatch"} if verdict.cash_mismatch else set())


@pytest.mark.parametrize(
    ("ours", "rows", "violated"),
    [
        (OURS, [ROW], set()),
        (replace(UNSENT, status=OrderStatus.PLACED), [WORKING_ROW], set()),
        (replace(UNSENT, status=OrderStatus.REJECTED, reason="AB1012: Invalid product type"), [], set()),
        (replace(UNSENT, status=OrderStatus.CANCELLED, unsent=True), [], set()),
        (UNKNOWN, [], {"unknown"}),
        (UNKNOWN, [ROW], {"unknown"}),
        (UNKNOWN, [ROW, replace(ROW, order_id="2")], {"unknown", "duplicates"}),
        (None, [], {"lost"}),
        (UNSENT, [], {"lost"}),
        (replace(UNSENT, status=OrderStatus.REJECTED), [], {"lost"}),
        (replace(UNSENT, status=OrderStatus.CANCELLED), [], {"lost"}),
        (replace(UNSENT, status=OrderStatus.PLACED), [], {"lost", "stuck"}),
        (replace(UNSENT, status=OrderStatus.PENDING), [], {"lost", "stuck"}),
        (replace(UNSENT, status=OrderStatus.SUBMITTING), [WORKING_ROW], {"stuck"}),
        (replace(UNSENT, status=OrderStatus.PLACED), [ROW], {"stuck", "position_mismatch", "cash_mismatch"}),
        (replace(UNSENT, status=OrderStatus.CANCELLED), [WORKING_ROW], {"contradictions"}),
        (replace(UNSENT, status=OrderStatus.CANCELLED, unsent=True), [WORKING_ROW], {"contradictions"}),
        (replace(UNSENT, status=OrderStatus.EXPIRED), [replace(ROW, filled=0, status="cancelled")], {"contradictions"}),
        (replace(UNSENT, status=OrderStatus.PLACED, broker_order_id="7"), [WORKING_ROW], {"contradictions"}),
        (
            replace(UNSENT, status=OrderStatus.PLACED, terms=TERMS._replace(price=Decimal(180))),
            [WORKING_ROW],
            {"terms_mismatch"},
        ),
        (OURS, [ROW, replace(ROW, order_id="2")], {"duplicates", "position_mismatch", "cash_mismatch"}),
        (replace(OURS, filled=4), [ROW], {"position_mismatch", "cash_mismatch"}),
        (replace(OURS, is_ours=False), [ROW], {"strangers"}),
    ],
)
def test_every_violation_is_counted_under_its_name(
    ours: OurOrder | None, rows: list[LedgerOrder], violated: set[str]
) -> None:
    verdict = judge(evidence([ours] if ours else [], rows))
    assert wrong(verdict) == violated
    assert verdict.clean is (not violated)
    assert bool(verdict.findings) is bool(violated)
    assert verdict.offenders == ({"T"} if violated else set())


@pytest.mark.parametrize(
    ("ours", "rows", "unsettleable"),
    [
        ([UNKNOWN, OTHER_UNKNOWN], [WORKING_ROW], 1),
        ([UNKNOWN, OTHER_UNKNOWN], [WORKING_ROW, OTHER_ROW], 1),
        ([UNKNOWN], [WORKING_ROW, OTHER_ROW], 1),
        ([UNKNOWN, replace(OTHER_UNKNOWN, terms=STOP)], [WORKING_ROW], 1),
        ([UNKNOWN, replace(OTHER_UNKNOWN, terms=TERMS._replace(price=Decimal(180)))], [WORKING_ROW], 0),
        ([UNKNOWN], [WORKING_ROW], 0),
        ([UNKNOWN, OTHER_UNKNOWN], [], 0),
        ([UNKNOWN, replace(OTHER_UNKNOWN, side=Side.SELL)], [WORKING_ROW], 0),
        (
            [UNKNOWN, replace(OTHER_UNKNOWN, status=OrderStatus.PLACED, broker_order_id="2")],
            [WORKING_ROW, OTHER_ROW],
            0,
        ),
    ],
)
def test_without_tags_only_an_order_with_several_possible_matches_may_stay_unknown(
    ours: list[OurOrder], rows: list[LedgerOrder], unsettleable: int
) -> None:
    verdict = judge(replace(evidence(ours, rows, tag_mode="none"), accepted=["T"]))
    assert (verdict.unsettleable, verdict.unknown) == (unsettleable, 1 - unsettleable)
    assert (judge(evidence(ours, rows, tag_mode="details")).unsettleable) == 0


def test_what_an_unsettleable_order_traded_is_expected_in_nobodys_books() -> None:
    traded = [replace(ROW, tag="T"), replace(ROW, order_id="2", tag="U")]
    found = evidence([UNKNOWN, OTHER_UNKNOWN], traded, tag_mode="none")
    verdict = judge(replace(found, accepted=["T", "U"]))
    assert (verdict.unsettleable, verdict.clean) == (2, True)


def test_a_cancel_that_was_taken_of_an_order_that_works_on_is_a_contradiction() -> None:
    found = evidence([replace(UNSENT, status=OrderStatus.PLACED, broker_order_id="1")], [WORKING_ROW])
    assert wrong(judge(replace(found, cancelled=frozenset({OURS.id})))) == {"contradictions"}


def test_a_position_that_differs_from_the_exchange_is_seen_even_where_every_order_agrees() -> None:
    assert wrong(judge(replace(evidence([OURS], [ROW]), positions={HELD: 4}))) == {"position_mismatch"}


@pytest.mark.parametrize(
    ("trade", "violations"),
    [
        (Trade("a", "1", "T1", 5, TERMS.price, FEES + 1), 1),
        (Trade("a", "1", "T9", 5, TERMS.price, FEES), 2),
    ],
)
def test_a_trade_that_was_recorded_otherwise_than_it_happened_is_seen(trade: Trade, violations: int) -> None:
    verdict = judge(replace(evidence([OURS], [ROW]), our_trades=[trade]))
    assert (wrong(verdict), verdict.position_mismatch) == ({"position_mismatch"}, violations)


def test_a_rupee_that_differs_is_seen_and_summed_over_the_accounts() -> None:
    found = evidence([OURS], [ROW])
    ledger_cash = {"a": found.ledger_cash["a"] + Decimal("0.05"), "b": Decimal(3)}
    verdict = judge(replace(found, ledger_cash=ledger_cash))
    assert (verdict.cash_mismatch, verdict.clean, len(verdict.findings)) == (Decimal("3.05"), False, 2)


def test_an_order_at_the_exchange_that_no_intent_became_is_a_stranger() -> None:
    verdict = judge(evidence([OURS], [ROW, replace(WORKING_ROW, order_id="2", tag="X")]))
    assert (wrong(verdict), verdict.strangers) == ({"strangers"}, 1)


def test_charges_are_compared_order_by_order_not_trade_by_trade() -> None:
    both = [
        trades([("1", 5)])[0]._replace(trade_id=number, quantity=quantity) for number, quantity in (("1", 2), ("2", 3))
    ]
    split = [both[0]._replace(fees=Decimal("0.90")), both[1]._replace(fees=Decimal("0.10"))]
    dearer = [both[0], both[1]._replace(fees=Decimal("0.60"))]
    found = replace(evidence([OURS], [ROW]), our_trades=both, ledger_trades=split)
    assert wrong(judge(replace(found, cash={"a": Decimal(0)}, ledger_cash={"a": Decimal(0)}))) == set()
    assert "position_mismatch" in wrong(judge(replace(found, ledger_trades=dearer)))
