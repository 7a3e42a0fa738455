"""The pure runner: bars and ticks in, sized orders out. Backtest, replay and live run this same code."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.core.bars import Bar, Tick
from app.core.orders import Urgency, Validity
from app.core.signals import Signal, SignalKind
from app.core.tags import client_order_id
from app.strategies.base_strategy import BaseStrategy, Holding

BAR = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SizedSignal:
    """A signal as the market order that it becomes. An entry that does not trade at once is not wanted later."""

    signal: Signal
    client_order_id: str
    urgency: Urgency
    validity: Validity


class StrategyRunner:
    """Runs one strategy. Its order ids are functions of run, strategy, instrument, market time and leg alone."""

    def __init__(self, strategy: BaseStrategy, *, run: str, name: str, instrument: str) -> None:
        self._strategy = strategy
        self._run = run
        self._name = name
        self._instrument = instrument
        self.last_bar: datetime | None = None

    def step(self, *, at: datetime, bars: Sequence[Bar], ticks: Sequence[Tick], holding: Holding) -> list[SizedSignal]:
        """Work through one step of the market at time `at`.

        Bars that closed before this step are history: they are learned from, not traded on.
        """
        signals: list[Signal] = []
        for bar in bars:
            if bar.start + BAR > at:
                signals += self._strategy.on_bar(bar, holding)
            else:
                self._strategy.learn(bar)
            self.last_bar = bar.start
        own = [tick for tick in ticks if tick.instrument_id == self._strategy.instrument_id]
        if not signals:
            for tick in own[-1:]:
                signals += self._strategy.on_tick(tick, holding)
        return [self._sized(signal, at) for signal in signals]

    def _sized(self, signal: Signal, at: datetime) -> SizedSignal:
        return SizedSignal(
            signal=signal,
            client_order_id=client_order_id(self._run, self._name, self._instrument, at.isoformat(), signal.kind.value),
            urgency=_URGENCY[signal.kind],
            validity=Validity.IOC if signal.kind is SignalKind.ENTRY else Validity.DAY,
        )


_URGENCY = {
    SignalKind.ENTRY: Urgency.NORMAL,
    SignalKind.EXIT: Urgency.HIGH,
    SignalKind.STOP: Urgency.STOP_LOSS,
    SignalKind.SQUARE_OFF: Urgency.CRITICAL,
}
