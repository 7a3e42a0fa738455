"""The fees of an order do not depend on how it was cut into fills."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from app.core.fees import FeeRates, fill_fees, order_fees
from app.core.orders import Side

rates = st.integers(min_value=0, max_value=100_000).map(lambda n: Decimal(n) / 10**7)
rupees = st.integers(min_value=0, max_value=100).map(Decimal)
turnovers = st.integers(min_value=1, max_value=10**9).map(lambda paise: Decimal(paise) / 100)


@st.composite
def fee_rates(draw: st.DrawFn) -> FeeRates:
    low = draw(rupees)
    return FeeRates(
        brokerage_rate=draw(rates),
        brokerage_min=low,
        brokerage_max=low + draw(rupees),
        stt_buy_rate=draw(rates),
        stt_sell_rate=draw(rates),
        exchange_rate=draw(rates),
        sebi_rate=draw(rates),
        stamp_buy_rate=draw(rates),
        gst_rate=Decimal("0.18"),
    )


@given(st.data(), fee_rates(), st.sampled_from(Side), st.lists(turnovers, min_size=1, max_size=10))
def test_the_fees_of_the_fills_sum_to_the_fees_of_the_order_in_any_cut_and_order(
    data: st.DataObject, schedule: FeeRates, side: Side, cuts: list[Decimal]
) -> None:
    before, charged = Decimal(0), Decimal(0)
    for turnover in data.draw(st.permutations(cuts)):
        charged += fill_fees(schedule, side=side, turnover_before=before, turnover=turnover)
        before += turnover
    assert charged == order_fees(schedule, side=side, turnover=sum(cuts, Decimal(0)))


@given(fee_rates(), st.sampled_from(Side), turnovers)
def test_fees_are_decimal_whole_paise_and_never_negative(schedule: FeeRates, side: Side, turnover: Decimal) -> None:
    fees = order_fees(schedule, side=side, turnover=turnover)
    assert type(fees) is Decimal
    assert fees >= 0
    assert fees * 100 % 1 == 0


@given(fee_rates(), st.sampled_from(Side), turnovers, turnovers)
def test_trading_more_never_costs_less(schedule: FeeRates, side: Side, turnover: Decimal, more: Decimal) -> None:
    assert fill_fees(schedule, side=side, turnover_before=turnover, turnover=more) >= 0


@given(fee_rates(), st.sampled_from(Side))
def test_what_has_not_traded_costs_nothing(schedule: FeeRates, side: Side) -> None:
    assert order_fees(schedule, side=side, turnover=Decimal(0)) == 0
