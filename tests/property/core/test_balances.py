"""Cash is what the fills moved, to the last digit, however strategies share them and whatever order they take."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from app.core.balances import Opening, PriceDoubt, Totals, cash_of, summed, unrealized_pnl
from app.core.fills import Fill
from app.core.positions import Position, fold
from tests.property.core.fills import fill_lists, marks

OPENING = Opening(cash=Decimal(1_000_000), flow_before=Decimal(0))


def totals(position: Position) -> Totals:
    return Totals(realized_pnl=position.realized_pnl, open_cost=position.open_cost, fees=position.fees)


def counted_by_hand(fills: list[Fill]) -> Decimal:
    """The cash of somebody who only pays and receives, as an exchange does."""
    cash = OPENING.cash
    for fill in fills:
        cash -= fill.side.sign * fill.turnover + fill.fees
    return cash


@given(fill_lists(), st.data())
def test_cash_is_what_was_paid_and_received_however_strategies_share_the_fills(
    fills: list[Fill], data: st.DataObject
) -> None:
    owners = data.draw(st.lists(st.integers(0, 3), min_size=len(fills), max_size=len(fills)))
    arrived = data.draw(st.permutations(list(zip(owners, fills, strict=True))))
    together = Totals()
    for owner in set(owners):
        together += totals(fold(fill for who, fill in arrived if who == owner))
    assert cash_of(OPENING, together) == counted_by_hand(fills)


@given(fill_lists(), fill_lists())
def test_what_was_traded_before_a_ledger_was_opened_does_not_count_again(before: list[Fill], after: list[Fill]) -> None:
    known = totals(fold(before))
    opening = Opening(cash=counted_by_hand(before), flow_before=known.flow)
    assert cash_of(opening, known + totals(fold(after))) == counted_by_hand([*before, *after])


@given(fill_lists(), marks)
def test_cash_and_what_is_open_are_worth_the_opening_and_all_profit(fills: list[Fill], mark: Decimal) -> None:
    position = fold(fills)
    unrealized = unrealized_pnl(quantity=position.quantity, open_cost=position.open_cost, price=mark)
    assert not isinstance(unrealized, PriceDoubt)
    worth = cash_of(OPENING, totals(position)) + position.quantity * mark
    assert worth == OPENING.cash + position.realized_pnl + unrealized - position.fees


@given(st.lists(st.decimals(-1000, 1000, places=2), max_size=5), st.sampled_from(PriceDoubt))
def test_a_sum_with_a_doubt_in_it_is_a_doubt(figures: list[Decimal], doubt: PriceDoubt) -> None:
    assert summed([*figures]) == sum(figures, Decimal(0))
    assert summed([*figures, doubt]) is doubt
    assert unrealized_pnl(quantity=0, open_cost=Decimal(0), price=doubt) == 0
