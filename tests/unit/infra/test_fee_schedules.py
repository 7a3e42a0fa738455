"""Fee schedules are read whole or refused, and the shipped ones charge what a contract note does."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from app.core.fees import order_fees, rates_on
from app.core.orders import Product, Side
from app.infra.fee_schedules import load_fee_schedules

RATES = {
    "brokerage_rate": "0.001",
    "brokerage_min": "5",
    "brokerage_max": "20",
    "stt_buy_rate": "0",
    "stt_sell_rate": "0.00025",
    "exchange_rate": "0.0000297",
    "sebi_rate": "0.000001",
    "stamp_buy_rate": "0.00003",
    "gst_rate": "0.18",
}


def write(folder: Path, rates: dict[str, str], **more: object) -> Path:
    schedule = {"effective_from": "2024-11-01", "source": "a test", "products": {"MIS": rates}, **more}
    (folder / "somebroker.yaml").write_text(yaml.safe_dump({"schedules": [schedule]}))
    return folder


def test_a_file_becomes_schedules_of_decimals(tmp_path: Path) -> None:
    (schedule,) = load_fee_schedules("somebroker", write(tmp_path, RATES))
    assert (schedule.effective_from, schedule.source) == (date(2024, 11, 1), "a test")
    rates = schedule.by_product[Product.MIS]
    assert rates.stt_sell_rate == Decimal("0.00025")
    assert all(type(getattr(rates, name)) is Decimal for name in RATES)


@pytest.mark.parametrize(
    "wrong",
    [
        {**RATES, "brokerage_rat": "0.1"},
        {name: rate for name, rate in RATES.items() if name != "gst_rate"},
        {**RATES, "gst_rate": "eighteen"},
        {**RATES, "gst_rate": "NaN"},
    ],
    ids=["unknown key", "missing key", "no number", "NaN"],
)
def test_a_file_that_does_not_say_all_it_must_or_says_more_is_refused(tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        load_fee_schedules("somebroker", write(tmp_path, wrong))


def test_an_unknown_product_or_key_of_a_schedule_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        load_fee_schedules("somebroker", write(tmp_path, RATES, products={"BO": RATES}))
    with pytest.raises(ValidationError):
        load_fee_schedules("somebroker", write(tmp_path, RATES, effective_till="2025-01-01"))


@pytest.mark.parametrize(
    ("day", "product", "side", "turnover", "charges"),
    [
        # 2019, intraday sale: brokerage 20 (0.25 %, capped), exchange 0.5917, SEBI 0.0182, GST 3.7098, STT 4.5513
        (date(2019, 1, 1), Product.MIS, Side.SELL, "18205", "28.87"),
        # 2019, delivery bought: no brokerage, exchange 0.5917, SEBI 0.0182, GST 0.1098, STT 18.205, stamp 2.7308
        (date(2019, 1, 1), Product.CNC, Side.BUY, "18205", "21.66"),
        # 2025, intraday purchase: brokerage 18.205, exchange 0.5407, SEBI 0.0182, GST 3.3775, stamp 0.5462
        (date(2025, 1, 1), Product.MIS, Side.BUY, "18205", "22.69"),
    ],
)
def test_the_shipped_schedules_charge_what_a_contract_note_worked_out_by_hand_does(
    day: date, product: Product, side: Side, *, turnover: str, charges: str
) -> None:
    rates = rates_on(load_fee_schedules("angelone"), day=day, product=product)
    assert order_fees(rates, side=side, turnover=Decimal(turnover)) == Decimal(charges)
