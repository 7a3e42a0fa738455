"""Positions and P&L do not depend on the order in which fills arrive, and no paisa appears or is lost."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from app.core.fills import Fill
from app.core.orders import Side
from app.core.positions import Position, apply_fill, fold, is_late
from tests.property.core.fills import fill, fill_lists, marks, prices, quantities


def arrive(fills: list[Fill]) -> Position:
    """Take fills as they come in, the way the recorder does: apply, or fold anew where one is late."""
    position, known = Position(), list[Fill]()
    for one in fills:
        known.append(one)
        position = fold(known) if is_late(position, one) else apply_fill(position, one)
    return position


@given(st.data(), fill_lists())
def test_any_order_of_arrival_ends_in_the_same_position(data: st.DataObject, fills: list[Fill]) -> None:
    shuffled = data.draw(st.permutations(fills))
    assert fold(shuffled) == fold(fills)
    assert arrive(shuffled) == fold(fills)


@given(fill_lists(), marks)
def test_realised_and_unrealised_together_are_the_cash_flow_to_the_last_digit(fills: list[Fill], mark: Decimal) -> None:
    position = fold(fills)
    cash = sum((-f.side.sign * f.price * f.quantity for f in fills), Decimal(0))
    assert position.realized_pnl + position.unrealized_pnl(mark) == cash + mark * position.quantity


@given(fill_lists())
def test_quantity_is_what_was_bought_less_what_was_sold(fills: list[Fill]) -> None:
    position = fold(fills)
    assert position.buy_quantity == sum(f.quantity for f in fills if f.side is Side.BUY)
    assert position.sell_quantity == sum(f.quantity for f in fills if f.side is Side.SELL)
    assert position.quantity == position.buy_quantity - position.sell_quantity


@given(fill_lists())
def test_a_flat_position_has_neither_cost_nor_average_and_an_open_one_has_both_with_its_sign(
    fills: list[Fill],
) -> None:
    position = fold(fills)
    if position.quantity == 0:
        assert position.open_cost == 0
        assert position.average_price is None
    else:
        assert position.open_cost * position.quantity > 0
        assert position.average_price is not None
        assert position.average_price > 0


@given(fill_lists())
def test_all_money_stays_decimal_and_fits_the_columns(fills: list[Fill]) -> None:
    position = fold(fills)
    for money in (position.open_cost, position.realized_pnl, position.fees):
        assert type(money) is Decimal
        assert money == money.quantize(Decimal("0.000001"))
    assert position.fees == sum((f.fees for f in fills), Decimal(0))


@given(quantities, quantities, prices, prices, st.sampled_from(Side))
def test_a_fill_through_zero_closes_the_old_position_and_opens_the_rest_at_its_own_price(
    held: int, more: int, entry: Decimal, turn: Decimal, side: Side
) -> None:
    opened = fill(1, side=side, quantity=held, price=entry)
    flipped = fold([opened, fill(2, side=side.opposite, quantity=held + more, price=turn, second=1)])
    assert flipped.quantity == -side.sign * more
    assert flipped.average_price == turn
    assert flipped.realized_pnl == (turn - entry) * held * side.sign


@given(fill_lists(max_size=6), fill_lists(max_size=6))
def test_the_fold_goes_on_from_where_it_stood(first: list[Fill], later: list[Fill]) -> None:
    moved = [
        fill(100 + n, side=f.side, quantity=f.quantity, price=f.price, second=100 + n, fees=f.fees)
        for n, f in enumerate(later)
    ]
    position = fold(first)
    for one in moved:
        assert not is_late(position, one)
        position = apply_fill(position, one)
    assert position == fold([*moved, *first])
