"""The incremental average agrees with the textbook's, computed anew at every step."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.strategies.indicators import Ema

prices = st.lists(st.integers(1, 400_000).map(lambda n: Decimal(n) / 20), min_size=1, max_size=60)


def textbook(values: list[Decimal], length: int) -> float | None:
    if len(values) < length:
        return None
    alpha = 2 / (length + 1)
    average = sum(float(value) for value in values[:length]) / length
    for value in values[length:]:
        average = alpha * float(value) + (1 - alpha) * average
    return average


@given(prices, st.integers(1, 12))
def test_the_average_is_the_textbooks_at_every_price(values: list[Decimal], length: int) -> None:
    ema = Ema(length)
    for count, value in enumerate(values, start=1):
        expected = textbook(values[:count], length)
        assert ema.update(value) == (None if expected is None else pytest.approx(expected))
        assert ema.value == (None if expected is None else pytest.approx(expected))


def test_a_flat_market_has_its_price_as_average() -> None:
    ema = Ema(3)
    assert [ema.update(Decimal(5)) for _ in range(5)] == [None, None, 5.0, 5.0, 5.0]
