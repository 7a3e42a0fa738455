"""EMA crossover, intraday, long and short, with a stop that we watch ourselves and a square-off time.

Long when the fast average crosses above the slow one, short when below. A position is closed by the opposite cross, by
its stop (a percentage from the average entry price) or at the square-off time, whichever comes first.
"""

from datetime import datetime, time
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.core.bars import Bar, Tick
from app.core.orders import Side
from app.core.signals import Signal, SignalKind
from app.strategies.base_strategy import BaseStrategy, Holding
from app.strategies.indicators import Ema

IST = ZoneInfo("Asia/Kolkata")


class EmaCrossoverParameters(BaseModel):
    """Settings. Lengths in bars, quantity in units, times in India."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fast: int = Field(default=5, ge=2, le=200)
    slow: int = Field(default=20, ge=3, le=500)
    quantity: int = Field(default=100, ge=1)
    stop_percent: Decimal = Field(default=Decimal("0.5"), gt=0, lt=50)
    last_entry: time = time(15, 0)
    square_off: time = time(15, 15)

    @model_validator(mode="after")
    def _fast_is_faster(self) -> "EmaCrossoverParameters":
        if self.fast >= self.slow:
            raise ValueError("fast must be shorter than slow")
        return self


class EmaCrossover(BaseStrategy):
    """The strategy. See the module for its rules."""

    def __init__(self, instrument_id: UUID, parameters: EmaCrossoverParameters) -> None:
        super().__init__(instrument_id)
        self._parameters = parameters
        self._fast = Ema(parameters.fast)
        self._slow = Ema(parameters.slow)
        self._was_above: bool | None = None

    def learn(self, bar: Bar) -> None:
        """Take a bar of the past into the averages."""
        self._cross(bar)

    def on_bar(self, bar: Bar, holding: Holding) -> list[Signal]:
        """Enter or reverse on a cross; nothing while an order of ours may still trade."""
        side = self._cross(bar)
        if side is None or holding.has_open_orders:
            return []
        signals = []
        quantity = holding.position.quantity
        if quantity * side.sign < 0:
            signals.append(self._signal(bar.start, SignalKind.EXIT, side, abs(quantity), "the averages crossed back"))
        may_enter = _ist(bar.start) < self._parameters.last_entry
        if quantity * side.sign <= 0 and may_enter:
            signals.append(
                self._signal(bar.start, SignalKind.ENTRY, side, self._parameters.quantity, "the averages crossed")
            )
        return signals

    def on_tick(self, tick: Tick, holding: Holding) -> list[Signal]:
        """Square off at the hour, or stop out; asks for no more than is left to close."""
        average = holding.position.average_price
        if average is None or holding.reducible == 0:
            return []
        side = Side.SELL if holding.position.quantity > 0 else Side.BUY
        if _ist(tick.at) >= self._parameters.square_off:
            return [self._signal(tick.at, SignalKind.SQUARE_OFF, side, holding.reducible, "square-off time")]
        stop = average * (1 + side.sign * self._parameters.stop_percent / 100)
        if (tick.price - stop) * side.sign >= 0:
            reason = f"stop {stop.quantize(Decimal('0.01'))} reached at {tick.price}"
            return [self._signal(tick.at, SignalKind.STOP, side, holding.reducible, reason)]
        return []

    def _cross(self, bar: Bar) -> Side | None:
        fast, slow = self._fast.update(bar.close), self._slow.update(bar.close)
        if fast is None or slow is None or fast == slow:
            return None
        above = fast > slow
        crossed = self._was_above is not None and above != self._was_above
        self._was_above = above
        if not crossed:
            return None
        return Side.BUY if above else Side.SELL

    def _signal(self, at: datetime, kind: SignalKind, side: Side, quantity: int, reason: str) -> Signal:
        return Signal(
            instrument_id=self.instrument_id,
            at=at,
            kind=kind,
            side=side,
            quantity=quantity,
            reason=reason,
            trace={"fast": _decimal(self._fast), "slow": _decimal(self._slow)},
        )


def _ist(moment: datetime) -> time:
    return moment.astimezone(IST).time()


def _decimal(average: Ema) -> Decimal:
    return Decimal(str(round(average.value, 6))) if average.value is not None else Decimal(0)
