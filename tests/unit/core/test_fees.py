"""Charges against contract notes worked out by hand, and which schedule holds on which day."""

from datetime import date
from decimal import Decimal

import pytest

from app.core.fees import FeeRates, FeeSchedule, fill_fees, order_fees, rates_on
from app.core.orders import Product, Side

INTRADAY = FeeRates(
    brokerage_rate=Decimal("0.001"),
    brokerage_min=Decimal(5),
    brokerage_max=Decimal(20),
    stt_buy_rate=Decimal(0),
    stt_sell_rate=Decimal("0.00025"),
    exchange_rate=Decimal("0.0000297"),
    sebi_rate=Decimal("0.000001"),
    stamp_buy_rate=Decimal("0.00003"),
    gst_rate=Decimal("0.18"),
)


@pytest.mark.parametrize(
    ("side", "turnover", "charges"),
    [
        # 100,000 bought: brokerage 20 (capped), exchange 2.97, SEBI 0.10, GST 18 % of 23.07 = 4.1526, stamp 3.00
        (Side.BUY, "100000", "30.22"),
        # 100,000 sold: the same without stamp duty, with securities transaction tax 25.00
        (Side.SELL, "100000", "52.22"),
        # 1,000 bought: brokerage 5 (the least), exchange 0.0297, SEBI 0.001, GST 0.905526, stamp 0.03
        (Side.BUY, "1000", "5.97"),
        # 12,345.65 sold: brokerage 12.34565, exchange 0.366666, SEBI 0.012346, GST 2.290439, STT 3.086413
        (Side.SELL, "12345.65", "18.10"),
        (Side.SELL, "0", "0"),
    ],
)
def test_charges_agree_with_a_contract_note(side: Side, turnover: str, charges: str) -> None:
    assert order_fees(INTRADAY, side=side, turnover=Decimal(turnover)) == Decimal(charges)


def test_half_a_paisa_is_rounded_up_as_on_a_contract_note() -> None:
    only_stamp = FeeRates(
        brokerage_rate=Decimal(0),
        brokerage_min=Decimal(0),
        brokerage_max=Decimal(0),
        stt_buy_rate=Decimal(0),
        stt_sell_rate=Decimal(0),
        exchange_rate=Decimal(0),
        sebi_rate=Decimal(0),
        stamp_buy_rate=Decimal("0.001"),
        gst_rate=Decimal(0),
    )
    assert order_fees(only_stamp, side=Side.BUY, turnover=Decimal(25)) == Decimal("0.03")


def test_the_least_brokerage_is_charged_once_an_order_and_not_once_a_fill() -> None:
    first = fill_fees(INTRADAY, side=Side.BUY, turnover_before=Decimal(0), turnover=Decimal(1000))
    second = fill_fees(INTRADAY, side=Side.BUY, turnover_before=Decimal(1000), turnover=Decimal(1000))
    assert first == Decimal("5.97")
    assert second < Decimal("0.10")


def schedule(day: date, brokerage: int) -> FeeSchedule:
    rates = FeeRates(
        brokerage_rate=Decimal(0),
        brokerage_min=Decimal(brokerage),
        brokerage_max=Decimal(brokerage),
        stt_buy_rate=Decimal(0),
        stt_sell_rate=Decimal(0),
        exchange_rate=Decimal(0),
        sebi_rate=Decimal(0),
        stamp_buy_rate=Decimal(0),
        gst_rate=Decimal(0),
    )
    return FeeSchedule(effective_from=day, source="a test", by_product={Product.MIS: rates})


SCHEDULES = [schedule(date(2024, 11, 1), 3), schedule(date(2015, 1, 1), 1), schedule(date(2020, 7, 1), 2)]


@pytest.mark.parametrize(
    ("day", "brokerage"),
    [
        (date(2015, 1, 1), 1),
        (date(2019, 12, 31), 1),
        (date(2020, 6, 30), 1),
        (date(2020, 7, 1), 2),
        (date(2024, 10, 31), 2),
        (date(2024, 11, 1), 3),
        (date(2030, 1, 1), 3),
        (date(2010, 1, 1), 1),  # before the oldest schedule: the nearest that is known
    ],
)
def test_the_rates_are_those_of_the_day_in_whatever_order_the_schedules_stand(day: date, brokerage: int) -> None:
    assert rates_on(SCHEDULES, day=day, product=Product.MIS).brokerage_min == brokerage


def test_a_product_without_rates_is_an_error_and_never_free_of_charge() -> None:
    with pytest.raises(KeyError):
        rates_on(SCHEDULES, day=date(2020, 1, 1), product=Product.CNC)
