"""The recorded days come out clean: every minute once, in session, in rupees."""

from datetime import date, time
from decimal import Decimal
from uuid import UUID

import pytest

from app.core.bars import Bar
from app.core.instruments import InstrumentKind
from app.infra.clock import IST
from app.market_data.sample import NoSuchDay, SampleDay, load_day, sample_days, sample_instruments

IDS = {"YESBANK": UUID(int=1), "JUNIORBEES": UUID(int=2), "NIFTY50": UUID(int=3)}
FIRST = date(2019, 1, 1)


@pytest.fixture(scope="module")
def days() -> list[date]:
    return sample_days()


@pytest.fixture(scope="module")
def first_day() -> SampleDay:
    return load_day(FIRST, IDS)


def bars_of(day: SampleDay, symbol: str) -> list[Bar]:
    return [bar for _, bars in day.minutes for bar in bars if bar.instrument_id == IDS[symbol]]


def test_the_year_has_all_its_trading_days_and_begins_with_the_first(days: list[date]) -> None:
    assert len(days) == 244  # and an evening session on a Sunday, which is no day of regular trading
    assert days == sorted(set(days))
    assert (days[0], days[-1]) == (FIRST, date(2019, 12, 31))
    assert all(day.weekday() < 5 for day in days)


@pytest.mark.parametrize("holiday", [date(2019, 1, 26), date(2019, 10, 27), date(2019, 12, 25), date(2018, 12, 31)])
def test_a_day_without_regular_trading_is_not_listed_and_cannot_be_loaded(days: list[date], holiday: date) -> None:
    assert holiday not in days
    with pytest.raises(NoSuchDay, match=holiday.isoformat()):
        load_day(holiday, IDS)


def test_every_minute_of_an_instrument_stands_once_and_in_its_order(first_day: SampleDay) -> None:
    starts = [start for start, _ in first_day.minutes]
    assert starts == sorted(set(starts))
    for start, bars in first_day.minutes:
        assert len({bar.instrument_id for bar in bars}) == len(bars) > 0
        assert {bar.start for bar in bars} == {start}
    assert len(bars_of(first_day, "NIFTY50")) == 375
    assert first_day.bar_count == sum(len(bars_of(first_day, symbol)) for symbol in IDS)


def test_nothing_lies_outside_the_session(first_day: SampleDay) -> None:
    times = [start.astimezone(IST).time() for start, _ in first_day.minutes]
    assert min(times) == time(9, 15)
    assert max(times) == time(15, 29)
    assert {start.astimezone(IST).date() for start, _ in first_day.minutes} == {FIRST}


def test_shares_are_scaled_to_rupees_and_the_index_is_taken_as_it_is(first_day: SampleDay) -> None:
    share, index = bars_of(first_day, "YESBANK")[0], bars_of(first_day, "NIFTY50")[0]
    assert (share.open, share.high, share.low, share.close) == tuple(map(Decimal, ("182.6", "182.7", "181.7", "181.9")))
    assert share.volume == 226_292
    assert (index.open, index.close, index.volume) == (Decimal("10879.95"), Decimal("10874.1"), 0)


def test_every_bar_makes_sense_and_is_decimal(first_day: SampleDay) -> None:
    for _, bars in first_day.minutes:
        for bar in bars:
            assert all(type(price) is Decimal for price in bar.prices())
            assert 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
            assert bar.volume >= 0


def test_only_the_instruments_asked_for_are_loaded() -> None:
    day = load_day(FIRST, {"YESBANK": IDS["YESBANK"], "RELIANCE": UUID(int=9)})
    assert {bar.instrument_id for _, bars in day.minutes for bar in bars} == {IDS["YESBANK"]}
    with pytest.raises(NoSuchDay):
        load_day(FIRST, {"RELIANCE": UUID(int=9)})


def test_the_instruments_of_the_sample_can_be_traded_but_for_the_index() -> None:
    found = {row.instrument.symbol: row for row in sample_instruments()}
    assert set(found) == {*IDS, "SBIN"}
    assert found["NIFTY50"].instrument.kind is InstrumentKind.INDEX
    assert found["YESBANK"].instrument.tick_size == Decimal("0.05")
    assert (found["YESBANK"].broker, found["YESBANK"].trading_symbol) == ("angelone", "YESBANK-EQ")
    assert all(row.instrument.lot_size == 1 for row in found.values())
