"""Charges of an Indian broker, as data: a dated schedule of rates and the arithmetic over it.

All charges are functions of an order's total turnover (brokerage is capped per executed order), so the fees of a
fill are the difference between the order's fees after and before it. Their sum does not depend on how the order
was cut into fills, nor on the order of arrival.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from app.core.orders import Product, Side

PAISA = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeRates:
    """Rates for one kind of trade. All `*_rate` are fractions of turnover; brokerage bounds are rupees an order."""

    brokerage_rate: Decimal
    brokerage_min: Decimal
    brokerage_max: Decimal
    stt_buy_rate: Decimal
    stt_sell_rate: Decimal
    exchange_rate: Decimal
    sebi_rate: Decimal
    stamp_buy_rate: Decimal
    gst_rate: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeSchedule:
    """Rates that hold from a day on, by product, with the source that states them."""

    effective_from: date
    source: str
    by_product: dict[Product, FeeRates]


def order_fees(rates: FeeRates, *, side: Side, turnover: Decimal) -> Decimal:
    """Return all charges of an order that has traded `turnover` rupees, rounded to the paisa."""
    if turnover == 0:
        return Decimal(0)
    brokerage = min(max(turnover * rates.brokerage_rate, rates.brokerage_min), rates.brokerage_max)
    exchange = turnover * rates.exchange_rate
    sebi = turnover * rates.sebi_rate
    stt = turnover * (rates.stt_buy_rate if side is Side.BUY else rates.stt_sell_rate)
    stamp = turnover * rates.stamp_buy_rate if side is Side.BUY else Decimal(0)
    gst = (brokerage + exchange + sebi) * rates.gst_rate
    return (brokerage + exchange + sebi + stt + stamp + gst).quantize(PAISA, rounding=ROUND_HALF_UP)


def fill_fees(rates: FeeRates, *, side: Side, turnover_before: Decimal, turnover: Decimal) -> Decimal:
    """Return the charges that one more fill of `turnover` rupees adds to its order."""
    before = order_fees(rates, side=side, turnover=turnover_before)
    return order_fees(rates, side=side, turnover=turnover_before + turnover) - before


def rates_on(schedules: Iterable[FeeSchedule], *, day: date, product: Product) -> FeeRates:
    """Return the rates that hold on a day; the oldest schedule also serves the days before it."""
    ordered = sorted(schedules, key=lambda s: s.effective_from)
    chosen = ordered[0]
    for schedule in ordered:
        if schedule.effective_from <= day:
            chosen = schedule
    return chosen.by_product[product]
