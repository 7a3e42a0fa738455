"""The rate suite, short enough for every change; `scripts/chaos --suite rate` runs it with a real burst."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.chaos.rate import (
    Arrival,
    Saved,
    exits_went_first,
    per_rolling_second_max,
    per_second_max,
    run_rate,
)

NOON = datetime(2026, 9, 21, 6, 30, tzinfo=UTC)


def arrivals(*seconds: float) -> list[Arrival]:
    return [Arrival(tag=f"T{at}", segment="NSE", at=NOON + timedelta(seconds=at)) for at in seconds]


@pytest.mark.timeout(240)
async def test_a_burst_of_one_account_stays_under_both_ceilings_at_the_exchange_and_exits_go_first() -> None:
    outcome = await run_rate(60)
    figures = outcome.figures
    assert outcome.clean, "\n".join([str(figures), *outcome.findings])
    assert figures["segments"] == "BSE, NSE"
    assert (figures["lost"], figures["duplicates"]) == (0, 0)
    assert figures["exits_first"] is True
    assert figures["delayed_not_failed"] is True


def test_the_judge_counts_by_the_seconds_of_a_shifted_clock() -> None:
    seen = arrivals(0.1, 0.5, 0.9, 1.0, 1.1)
    assert per_second_max(seen) == 3
    assert per_second_max(seen, shift_ms=500) == 4
    assert per_rolling_second_max(seen) == 4
    assert per_second_max([]) == per_rolling_second_max([]) == 0


@pytest.mark.parametrize(("ordinary_at", "first"), [(6.5, False), (7.5, True), (5.2, True)])
def test_the_judge_sees_an_ordinary_order_that_goes_before_a_waiting_exit(ordinary_at: float, *, first: bool) -> None:
    exit_arrives, ordinary = arrivals(7.0, ordinary_at)
    saved = [
        Saved(tag=exit_arrives.tag, status="PLACED", is_exit=True, saved_at=NOON + timedelta(seconds=5)),
        Saved(tag=ordinary.tag, status="PLACED", is_exit=False, saved_at=NOON),
    ]
    assert exits_went_first([ordinary, exit_arrives], saved, offset_ms=0) is first
