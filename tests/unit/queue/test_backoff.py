from hypothesis import given
from hypothesis import strategies as st

from app.infra.backoff import FailureCounts, backoff_s
from app.queue.jobs import PUT_OFF_S_MAX, PUT_OFF_S_MIN, PutOff


@given(st.integers(0, 10**9))
def test_a_delay_is_bounded_however_often_it_failed(failures: int) -> None:
    assert 0.5 <= backoff_s(failures, base_s=1.0, cap_s=60.0) <= 60.0


def test_delays_grow_until_the_cap() -> None:
    assert backoff_s(1, base_s=1.0, cap_s=60.0) <= 1.0
    assert 4.0 <= backoff_s(4, base_s=1.0, cap_s=60.0) <= 8.0
    assert backoff_s(50, base_s=1.0, cap_s=60.0) >= 30.0


def test_failures_are_counted_in_a_row() -> None:
    counts = FailureCounts()
    assert [counts.failed("a"), counts.failed("a"), counts.failed("b")] == [1, 2, 1]
    counts.succeeded("a")
    counts.succeeded("never failed")
    assert counts.failed("a") == 1


def test_only_the_most_recent_failing_jobs_are_remembered() -> None:
    counts = FailureCounts(capacity=2)
    for job_id in ("a", "b", "a", "c"):
        counts.failed(job_id)
    assert counts.failed("a") == 3
    assert counts.failed("b") == 1


@given(st.floats(allow_nan=False))
def test_a_put_off_job_neither_spins_nor_sleeps_for_ever(delay_s: float) -> None:
    assert PUT_OFF_S_MIN * 1000 <= PutOff(delay_s).delay_ms <= PUT_OFF_S_MAX * 1000
