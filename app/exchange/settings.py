"""What the composition root tells the paper exchange."""

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from app.core.fees import FeeSchedule
from app.core.instruments import Exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeInstrument:
    """An instrument under its SmartAPI names. `tick_size` in rupees, `lot_size` in units."""

    exchange: Exchange
    token: str
    trading_symbol: str
    name: str
    tick_size: Decimal
    lot_size: int
    tradable: bool

    @property
    def key(self) -> str:
        """The name under which prices and orders find it: `NSE:11915`."""
        return f"{self.exchange}:{self.token}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeSettings:
    """All settings. An empty `control_key` leaves the control endpoints out; no fee schedule means no charges."""

    host: str
    port: int
    control_key: str = field(repr=False)
    ledger_path: Path
    instruments: list[ExchangeInstrument]
    fee_schedules: list[FeeSchedule] = field(default_factory=list)
