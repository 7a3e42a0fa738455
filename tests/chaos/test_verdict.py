"""The judge itself: each violation is seen, and honest outcomes are not called violations."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.core.orders import OrderStatus
from tests.chaos.verdict import Evidence, OurOrder, Verdict, judge
from tests.harness.paper_control import LedgerOrder

ROW = LedgerOrder(
    order_id="1", tag="T", side="BUY", filled=5, status="complete", received_at=datetime(2026, 11, 21, tzinfo=UTC)
)
WORKING_ROW = ROW._replace(filled=0, status="open")
OURS = OurOrder(tag="T", account="a", status=OrderStatus.COMPLETE, reason=None, filled=5, counted=5)
UNSENT = replace(OURS, filled=0, counted=0)
COUNTS = ("lost", "duplicates", "stuck", "position_mismatch", "strangers", "unknown")


def judged(ours: OurOrder | None, *rows: LedgerOrder, held: int | None = None) -> Verdict:
    """Judge one accepted intent; the position is what our fills make it unless a test says otherwise."""
    counted = ours.counted if ours else 0
    return judge(
        Evidence(
            accepted=["T"],
            ours=[ours] if ours else [],
            ledger={"a": list(rows)},
            positions={"a": counted if held is None else held},
        )
    )


@pytest.mark.parametrize(
    ("ours", "rows", "wrong"),
    [
        (OURS, [ROW], set()),
        (replace(UNSENT, status=OrderStatus.PLACED), [WORKING_ROW], set()),
        (replace(UNSENT, status=OrderStatus.REJECTED, reason="AB1012: Invalid product type"), [], set()),
        (replace(UNSENT, status=OrderStatus.UNKNOWN), [], {"unknown"}),
        (replace(UNSENT, status=OrderStatus.UNKNOWN), [ROW], {"unknown"}),
        (replace(UNSENT, status=OrderStatus.UNKNOWN), [ROW, ROW._replace(order_id="2")], {"unknown", "duplicates"}),
        (None, [], {"lost"}),
        (UNSENT, [], {"lost"}),
        (replace(UNSENT, status=OrderStatus.REJECTED), [], {"lost"}),
        (replace(UNSENT, status=OrderStatus.PLACED), [], {"lost", "stuck"}),
        (replace(UNSENT, status=OrderStatus.PENDING), [], {"lost", "stuck"}),
        (replace(UNSENT, status=OrderStatus.SUBMITTING), [WORKING_ROW], {"stuck"}),
        (replace(UNSENT, status=OrderStatus.PLACED), [ROW], {"stuck", "position_mismatch"}),
        (replace(OURS, filled=10, counted=10), [ROW, ROW._replace(order_id="2")], {"duplicates"}),
        (replace(OURS, counted=4), [ROW], {"position_mismatch"}),
    ],
)
def test_every_violation_is_counted_under_its_name(
    ours: OurOrder | None, rows: list[LedgerOrder], wrong: set[str]
) -> None:
    verdict = judged(ours, *rows)
    assert {name for name in COUNTS if getattr(verdict, name)} == wrong
    assert verdict.clean is (wrong <= {"unknown"})
    assert bool(verdict.findings) is (not verdict.clean)


def test_a_position_that_differs_from_the_exchange_is_seen_even_where_every_order_agrees() -> None:
    assert judged(OURS, ROW, held=4).position_mismatch == 1


def test_an_order_at_the_exchange_that_no_intent_became_is_a_stranger() -> None:
    verdict = judged(OURS, ROW, ROW._replace(order_id="2", tag="X", filled=0))
    assert (verdict.strangers, verdict.clean) == (1, False)
