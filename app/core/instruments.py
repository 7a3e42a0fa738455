"""What can be traded: instruments and the symbols under which a broker knows them."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from uuid import UUID


class Exchange(StrEnum):
    """Exchange segments, by the names that Indian brokers use in orders."""

    NSE = "NSE"
    BSE = "BSE"
    NFO = "NFO"
    BFO = "BFO"
    CDS = "CDS"
    MCX = "MCX"


class InstrumentKind(StrEnum):
    """What sort of thing an instrument is; an INDEX has prices but cannot be traded."""

    EQUITY = "EQUITY"
    ETF = "ETF"
    INDEX = "INDEX"
    FUTURE = "FUTURE"
    OPTION = "OPTION"


CASH_EXCHANGES = frozenset({Exchange.NSE, Exchange.BSE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One instrument. `tick_size` is in rupees, `lot_size` and `freeze_quantity` in units."""

    id: UUID
    exchange: Exchange
    symbol: str
    name: str
    kind: InstrumentKind
    tick_size: Decimal
    lot_size: int
    freeze_quantity: int | None = None

    @property
    def key(self) -> str:
        """The name people use: `NSE:YESBANK`."""
        return f"{self.exchange}:{self.symbol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSymbol:
    """The name and token of an instrument at one broker."""

    broker: str
    instrument_id: UUID
    trading_symbol: str
    token: str
