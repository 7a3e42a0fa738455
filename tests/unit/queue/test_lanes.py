from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.orders import Lane, Urgency
from app.queue.lanes import epoch_ms, lane_keys, rank, rank_time_ms

_FIRST, _LAST = datetime(1970, 1, 1), datetime(2200, 1, 1)  # noqa: DTZ001  Hypothesis adds the zone itself
MOMENTS = st.datetimes(min_value=_FIRST, max_value=_LAST, timezones=st.just(UTC))


@given(st.sampled_from(Urgency), st.sampled_from(Urgency), MOMENTS, MOMENTS)
def test_the_higher_band_goes_first_whatever_the_times(
    one: Urgency, other: Urgency, at: datetime, then: datetime
) -> None:
    if one.band > other.band:
        assert rank(one, at) < rank(other, then)


@given(
    st.sampled_from(Urgency), MOMENTS, st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(days=99))
)
def test_within_a_band_the_older_goes_first(urgency: Urgency, at: datetime, age: timedelta) -> None:
    assert rank(urgency, at) <= rank(urgency, at + age)


@given(st.sampled_from(Urgency), MOMENTS)
def test_a_rank_is_never_zero_which_arq_takes_for_absent(urgency: Urgency, at: datetime) -> None:
    assert rank(urgency, at) != 0


def test_not_even_the_first_moment_ranks_zero() -> None:
    assert rank(Urgency.NORMAL, datetime(1970, 1, 1, tzinfo=UTC)) == 1


@given(st.sampled_from(Urgency), MOMENTS)
def test_a_rank_survives_the_double_that_redis_keeps_it_in(urgency: Urgency, at: datetime) -> None:
    assert int(float(rank(urgency, at))) == rank(urgency, at)


@pytest.mark.parametrize("urgency", list(Urgency))
def test_the_enqueue_time_can_be_read_from_a_rank(urgency: Urgency) -> None:
    at = datetime(2026, 1, 5, 3, 45, 0, 123000, tzinfo=UTC)
    assert rank_time_ms(rank(urgency, at)) == epoch_ms(at)


def test_every_lane_has_keys_of_its_own() -> None:
    keys = [getattr(lane_keys(lane), name) for lane in Lane for name in ("ready", "delayed", "ranks")]
    assert len(set(keys)) == len(keys)
    assert {"orders:priority", "orders:standard", "orders:priority:delayed", "orders:standard:delayed"} <= set(keys)
