"""Positions as business scenarios: what was traded, and what must be held and earned after it."""

from decimal import Decimal

import pytest

from app.core.fills import Fill
from app.core.orders import Side
from app.core.positions import Position, apply_fill, fold, is_late
from tests.property.core.fills import fill

BUY, SELL = Side.BUY, Side.SELL

SCENARIOS = [
    # what trades                                                  quantity  average     realised
    ("a purchase", [(BUY, 100, "182.05")], 100, "182.05", "0"),
    ("a short sale", [(SELL, 100, "182.05")], -100, "182.05", "0"),
    ("two purchases", [(BUY, 100, "180"), (BUY, 300, "184")], 400, "183", "0"),
    ("a part sold", [(BUY, 100, "180"), (SELL, 40, "185")], 60, "180", "200"),
    ("a part bought back", [(SELL, 100, "180"), (BUY, 40, "185")], -60, "180", "-200"),
    ("all sold", [(BUY, 100, "180"), (SELL, 100, "185")], 0, None, "500"),
    ("flipped short", [(BUY, 100, "180"), (SELL, 250, "185")], -150, "185", "500"),
    ("flipped long", [(SELL, 100, "180"), (BUY, 250, "185")], 150, "185", "-500"),
    ("flat and begun anew", [(BUY, 1, "180"), (SELL, 1, "181"), (SELL, 2, "190")], -2, "190", "1"),
    ("thirds", [(BUY, 3, "10.05"), (BUY, 4, "10.10"), (SELL, 1, "11")], 6, "10.0786", "0.921429"),
]


def traded(rows: list[tuple[Side, int, str]]) -> list[Fill]:
    return [
        fill(n + 1, side=side, quantity=quantity, price=Decimal(price), second=n)
        for n, (side, quantity, price) in enumerate(rows)
    ]


@pytest.mark.parametrize(
    ("rows", "quantity", "average", "realised"), [row[1:] for row in SCENARIOS], ids=[row[0] for row in SCENARIOS]
)
def test_what_is_held_and_earned(
    rows: list[tuple[Side, int, str]], quantity: int, average: str | None, realised: str
) -> None:
    position = fold(traded(rows))
    assert position.quantity == quantity
    assert position.realized_pnl == Decimal(realised)
    if average is None:
        assert position.average_price is None
    else:
        assert position.average_price is not None
        assert position.average_price.quantize(Decimal("0.0001")) == Decimal(average)


def test_trade_numbers_that_grow_a_digit_keep_their_order() -> None:
    ninth = fill(9, side=BUY, quantity=1, price=Decimal(1))
    twelfth = fill(12, side=BUY, quantity=1, price=Decimal(1))
    assert ninth.key.broker_order_id == twelfth.key.broker_order_id
    assert ninth.sort_key < twelfth.sort_key


def test_a_fill_is_late_only_where_one_that_traded_after_it_is_counted_already() -> None:
    early, late = traded([(BUY, 1, "10"), (SELL, 1, "11")])
    assert not is_late(Position(), early)
    assert not is_late(apply_fill(Position(), early), late)
    assert is_late(apply_fill(Position(), late), early)
