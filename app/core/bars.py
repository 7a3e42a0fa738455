"""Prices in time: ticks and one-minute bars."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A last traded price at a market time. `volume` is what traded since the tick before, in units."""

    instrument_id: UUID
    at: datetime
    price: Decimal
    volume: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One minute of trading, stamped with its START in UTC. Prices in rupees, volume in units."""

    instrument_id: UUID
    start: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int

    def prices(self) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """The four prices in the order in which a replay plays them.

        A rising bar is taken to have made its low first, a falling or flat one its high first: the usual
        assumption where only the bar is known.
        """
        if self.close > self.open:
            return (self.open, self.low, self.high, self.close)
        return (self.open, self.high, self.low, self.close)
