"""Reads fee schedules from config/fees/."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from app.core.fees import FeeRates, FeeSchedule
from app.core.orders import Product
from app.infra.config import PROJECT_ROOT


class _Rates(BaseModel):
    model_config = ConfigDict(extra="forbid")

    brokerage_rate: Decimal
    brokerage_min: Decimal
    brokerage_max: Decimal
    stt_buy_rate: Decimal
    stt_sell_rate: Decimal
    exchange_rate: Decimal
    sebi_rate: Decimal
    stamp_buy_rate: Decimal
    gst_rate: Decimal


class _Schedule(BaseModel):
    model_config = ConfigDict(extra="forbid")

    effective_from: date
    source: str
    products: dict[Product, _Rates]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schedules: list[_Schedule]


def load_fee_schedules(broker: str, folder: Path = PROJECT_ROOT / "config" / "fees") -> list[FeeSchedule]:
    """Return a broker's schedules; raises `ValidationError` for a file that does not say all it must."""
    parsed = _File.model_validate(yaml.safe_load((folder / f"{broker}.yaml").read_text()))
    return [
        FeeSchedule(
            effective_from=schedule.effective_from,
            source=schedule.source,
            by_product={product: FeeRates(**rates.model_dump()) for product, rates in schedule.products.items()},
        )
        for schedule in parsed.schedules
    ]
