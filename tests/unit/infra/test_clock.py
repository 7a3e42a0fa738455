"""Indian days and midnights, and what every clock must keep."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.ports import Clock
from app.infra.clock import IST, SystemClock, ist_day, next_ist_midnight

moments = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)).map(  # noqa: DTZ001
    lambda naive: naive.replace(tzinfo=UTC)
)


def test_the_system_clock_is_a_clock_that_speaks_utc_and_never_steps_back() -> None:
    clock: Clock = SystemClock()
    before = datetime.now(UTC)
    moment = clock.now()
    assert before <= moment <= datetime.now(UTC)
    assert moment.utcoffset() == timedelta(0)
    readings = [clock.monotonic() for _ in range(1000)]
    assert readings == sorted(readings)


@pytest.mark.parametrize(
    ("moment", "day", "midnight"),
    [
        ("2019-01-01T18:29:59+00:00", date(2019, 1, 1), "2019-01-01T18:30:00+00:00"),
        ("2019-01-01T18:30:00+00:00", date(2019, 1, 2), "2019-01-02T18:30:00+00:00"),
        ("2019-12-31T23:00:00+00:00", date(2020, 1, 1), "2020-01-01T18:30:00+00:00"),
        ("2020-02-29T00:00:00+05:30", date(2020, 2, 29), "2020-02-29T18:30:00+00:00"),
    ],
)
def test_the_indian_day_and_its_end(moment: str, day: date, midnight: str) -> None:
    assert ist_day(datetime.fromisoformat(moment)) == day
    assert next_ist_midnight(datetime.fromisoformat(moment)) == datetime.fromisoformat(midnight)


@given(moments)
def test_the_next_midnight_is_in_utc_within_a_day_and_begins_the_next_indian_day(moment: datetime) -> None:
    midnight = next_ist_midnight(moment)
    assert midnight.utcoffset() == timedelta(0)
    assert timedelta(0) < midnight - moment <= timedelta(days=1)
    assert ist_day(midnight) == ist_day(moment) + timedelta(days=1)
    assert midnight.astimezone(IST).time().isoformat() == "00:00:00"
