"""The runner gives the same orders for the same market, and never trades on the past."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from app.core.bars import Bar, Tick
from app.core.orders import Side, Urgency, Validity
from app.core.positions import Position
from app.core.signals import Signal, SignalKind
from app.engine.runner import SizedSignal, StrategyRunner
from app.strategies.base_strategy import BaseStrategy, Holding

NOON = datetime(2019, 1, 1, 6, 30, tzinfo=UTC)
SHARE, OTHER = UUID(int=7), UUID(int=8)
FLAT = Holding(position=Position())


class Scripted(BaseStrategy):
    """Answers each bar and tick with prepared signals, and remembers what it was shown."""

    def __init__(self, on_bar: Sequence[SignalKind] = (), on_tick: Sequence[SignalKind] = ()) -> None:
        super().__init__(SHARE)
        self._on_bar, self._on_tick = on_bar, on_tick
        self.learned: list[datetime] = []
        self.decided: list[datetime] = []
        self.ticks: list[Decimal] = []

    def learn(self, bar: Bar) -> None:
        self.learned.append(bar.start)

    def on_bar(self, bar: Bar, holding: Holding) -> list[Signal]:
        self.decided.append(bar.start)
        return [signal(kind, bar.start) for kind in self._on_bar]

    def on_tick(self, tick: Tick, holding: Holding) -> list[Signal]:
        self.ticks.append(tick.price)
        return [signal(kind, tick.at) for kind in self._on_tick]


def signal(kind: SignalKind, at: datetime) -> Signal:
    return Signal(instrument_id=SHARE, at=at, kind=kind, side=Side.BUY, quantity=1, reason="a test", trace={})


def bar(minute: int) -> Bar:
    price = Decimal(100)
    start = NOON + timedelta(minutes=minute)
    return Bar(instrument_id=SHARE, start=start, open=price, high=price, low=price, close=price, volume=1)


def tick(price: int, instrument_id: UUID = SHARE) -> Tick:
    return Tick(instrument_id=instrument_id, at=NOON, price=Decimal(price), volume=1)


def step(
    strategy: BaseStrategy,
    *,
    at: datetime = NOON,
    run: str = "run",
    bars: Sequence[Bar] = (),
    ticks: Sequence[Tick] = (),
) -> list[SizedSignal]:
    runner = StrategyRunner(strategy, run=run, name="cross", instrument="NSE:YESBANK")
    return runner.step(at=at, bars=bars, ticks=ticks, holding=FLAT)


def test_bars_that_closed_before_the_step_are_learned_and_not_traded_on() -> None:
    strategy = Scripted(on_bar=[SignalKind.ENTRY])
    bars = [bar(-2), bar(-1), bar(0)]
    sized = step(strategy, at=NOON + timedelta(seconds=59), bars=bars)
    assert strategy.learned == [bars[0].start, bars[1].start]
    assert strategy.decided == [bars[2].start]
    assert len(sized) == 1


def test_a_bar_is_the_past_from_the_moment_at_which_the_next_begins() -> None:
    strategy = Scripted(on_bar=[SignalKind.ENTRY])
    assert step(strategy, at=NOON + timedelta(minutes=1), bars=[bar(0)]) == []
    assert strategy.learned == [NOON]


def test_the_runner_knows_how_far_it_has_come() -> None:
    runner = StrategyRunner(Scripted(), run="run", name="cross", instrument="NSE:YESBANK")
    assert runner.last_bar is None
    runner.step(at=NOON, bars=[bar(-3), bar(-1)], ticks=[], holding=FLAT)
    assert runner.last_bar == bar(-1).start


def test_only_the_newest_price_of_its_own_instrument_counts() -> None:
    strategy = Scripted()
    step(strategy, ticks=[tick(1), tick(2), tick(3, OTHER)])
    assert strategy.ticks == [2]


def test_a_price_decides_only_where_the_bar_has_not() -> None:
    strategy = Scripted(on_bar=[SignalKind.EXIT], on_tick=[SignalKind.STOP])
    assert [one.signal.kind for one in step(strategy, bars=[bar(0)], ticks=[tick(1)])] == [SignalKind.EXIT]
    assert strategy.ticks == []
    assert [one.signal.kind for one in step(strategy, ticks=[tick(1)])] == [SignalKind.STOP]


def test_two_runs_of_a_step_give_the_same_ids_and_every_fact_changes_them() -> None:
    def ids(at: datetime = NOON, run: str = "run", kinds: Sequence[SignalKind] = (SignalKind.ENTRY,)) -> list[str]:
        return [one.client_order_id for one in step(Scripted(on_tick=kinds), at=at, run=run, ticks=[tick(1)])]

    assert ids() == ids()
    assert ids() != ids(run="another run")
    assert ids() != ids(at=NOON + timedelta(seconds=15))
    legs = ids(kinds=[SignalKind.EXIT, SignalKind.ENTRY])
    assert len(set(legs)) == 2
    assert ids()[0] == legs[1]


@pytest.mark.parametrize(
    ("kind", "urgency", "validity"),
    [
        (SignalKind.ENTRY, Urgency.NORMAL, Validity.IOC),
        (SignalKind.EXIT, Urgency.HIGH, Validity.DAY),
        (SignalKind.STOP, Urgency.STOP_LOSS, Validity.DAY),
        (SignalKind.SQUARE_OFF, Urgency.CRITICAL, Validity.DAY),
    ],
)
def test_a_stop_is_the_most_urgent_and_an_entry_is_not_wanted_later(
    kind: SignalKind, urgency: Urgency, validity: Validity
) -> None:
    (sized,) = step(Scripted(on_tick=[kind]), ticks=[tick(1)])
    assert (sized.urgency, sized.validity) == (urgency, validity)
