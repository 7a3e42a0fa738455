"""Charges of paper trades, by the same dated schedules that real accounts use."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from app.core.fees import FeeSchedule, fill_fees, rates_on
from app.core.orders import Product, Side


class Charges:
    """Works out the fees of each trade; without schedules trading is free."""

    def __init__(self, schedules: Sequence[FeeSchedule]) -> None:
        self._schedules = schedules

    def of_trade(self, *, product: Product, side: Side, day: date, traded_before: Decimal, value: Decimal) -> Decimal:
        """Return what a trade of `value` rupees adds to the charges of an order that had traded some before."""
        if not self._schedules:
            return Decimal(0)
        rates = rates_on(self._schedules, day=day, product=product)
        return fill_fees(rates, side=side, turnover_before=traded_before, turnover=value)
