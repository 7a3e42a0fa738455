"""What a strategy is: it sees bars, ticks and what it holds, and answers with signals."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from uuid import UUID

from app.core.bars import Bar, Tick
from app.core.positions import Position
from app.core.signals import Signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What a strategy has: its own position, and units of its orders that may still trade."""

    position: Position
    open_buy: int = 0
    open_sell: int = 0

    @property
    def has_open_orders(self) -> bool:
        """Whether an order of this strategy may still trade, or nobody knows whether it may."""
        return self.open_buy > 0 or self.open_sell > 0

    @property
    def reducible(self) -> int:
        """Units that an exit may still ask for: the position, less the exits that are under way."""
        quantity = self.position.quantity
        under_way = self.open_sell if quantity > 0 else self.open_buy
        return max(0, abs(quantity) - under_way)


class BaseStrategy(ABC):
    """A strategy over one instrument. It reads no clock and keeps no money: times and holdings are given."""

    def __init__(self, instrument_id: UUID) -> None:
        self.instrument_id = instrument_id

    @abstractmethod
    def learn(self, bar: Bar) -> None:
        """Take a bar of the past into the indicators, without deciding anything."""

    @abstractmethod
    def on_bar(self, bar: Bar, holding: Holding) -> list[Signal]:
        """Decide on a bar that has just closed."""

    @abstractmethod
    def on_tick(self, tick: Tick, holding: Holding) -> list[Signal]:
        """Decide on a price, between bars: stops and square-off."""
