"""When the crossover strategy enters, reverses, stops and squares off, and when it keeps still."""

from datetime import datetime, time, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from app.core.bars import Bar, Tick
from app.core.orders import Side
from app.core.positions import Position
from app.core.signals import SignalKind
from app.strategies.base_strategy import Holding
from app.strategies.ema_crossover import EmaCrossover, EmaCrossoverParameters
from app.strategies.registry import UnknownStrategy, build_strategy

IST = ZoneInfo("Asia/Kolkata")
SHARE = UUID(int=7)
PARAMETERS = EmaCrossoverParameters(fast=2, slow=3, quantity=100, stop_percent=Decimal("0.5"))
FLAT = Holding(position=Position())
LONG = Holding(position=Position(quantity=100, open_cost=Decimal(20_000)))
SHORT = Holding(position=Position(quantity=-100, open_cost=Decimal(-20_000)))
DOWN = [103, 102, 101, 100]
UP = [97, 98, 99, 100]


def at(clock: str) -> datetime:
    return datetime.combine(datetime(2019, 1, 1, tzinfo=IST), time.fromisoformat(clock), tzinfo=IST)


def bar(start: datetime, close: int) -> Bar:
    price = Decimal(close)
    return Bar(instrument_id=SHARE, start=start, open=price, high=price, low=price, close=price, volume=1)


def tick(clock: str, price: str) -> Tick:
    return Tick(instrument_id=SHARE, at=at(clock), price=Decimal(price), volume=1)


def taught(closes: list[int], before: str = "10:00") -> EmaCrossover:
    strategy = EmaCrossover(SHARE, PARAMETERS)
    for n, close in enumerate(closes):
        strategy.learn(bar(at(before) - timedelta(minutes=len(closes) - n), close))
    return strategy


def on_bar(closes: list[int], close: int, holding: Holding, clock: str = "10:00") -> list[tuple[SignalKind, Side, int]]:
    signals = taught(closes, clock).on_bar(bar(at(clock), close), holding)
    return [(signal.kind, signal.side, signal.quantity) for signal in signals]


ENTRY, EXIT, STOP, SQUARE_OFF = SignalKind.ENTRY, SignalKind.EXIT, SignalKind.STOP, SignalKind.SQUARE_OFF
BUY, SELL = Side.BUY, Side.SELL

BARS = [
    ("flat, crossed up: enter long", DOWN, 120, FLAT, "10:00", [(ENTRY, BUY, 100)]),
    ("flat, crossed down: enter short", UP, 80, FLAT, "10:00", [(ENTRY, SELL, 100)]),
    ("short, crossed up: close and turn", DOWN, 120, SHORT, "10:00", [(EXIT, BUY, 100), (ENTRY, BUY, 100)]),
    ("long, crossed down: close and turn", UP, 80, LONG, "10:00", [(EXIT, SELL, 100), (ENTRY, SELL, 100)]),
    ("long already, crossed up: nothing", DOWN, 120, LONG, "10:00", []),
    ("short already, crossed down: nothing", UP, 80, SHORT, "10:00", []),
    ("no cross: nothing", DOWN, 99, FLAT, "10:00", []),
    ("no cross while long: nothing", UP, 101, LONG, "10:00", []),
    ("a minute before the last entry: enter", DOWN, 120, FLAT, "14:59", [(ENTRY, BUY, 100)]),
    ("at the last entry: no new position", DOWN, 120, FLAT, "15:00", []),
    ("after the last entry: close, do not turn", DOWN, 120, SHORT, "15:05", [(EXIT, BUY, 100)]),
    ("too few bars to have an average", [100], 120, FLAT, "10:00", []),
]


@pytest.mark.parametrize(
    ("closes", "close", "holding", "clock", "expected"), [row[1:] for row in BARS], ids=[row[0] for row in BARS]
)
def test_what_a_closed_bar_makes_it_do(
    closes: list[int], close: int, holding: Holding, clock: str, expected: list[tuple[SignalKind, Side, int]]
) -> None:
    assert on_bar(closes, close, holding, clock) == expected


@pytest.mark.parametrize(
    "holding",
    [
        Holding(position=Position(), open_buy=1),
        Holding(position=Position(), open_sell=1),
        Holding(position=SHORT.position, open_buy=100),
    ],
)
def test_nothing_is_decided_while_an_order_of_its_own_may_still_trade(holding: Holding) -> None:
    assert on_bar(DOWN, 120, holding) == []


def test_equal_averages_are_no_cross() -> None:
    strategy = taught(DOWN)
    assert strategy.on_bar(bar(at("10:00"), 100), FLAT) == []
    flat = EmaCrossover(SHARE, PARAMETERS)
    assert [flat.on_bar(bar(at("10:00") + timedelta(minutes=n), 100), FLAT) for n in range(6)] == [[]] * 6


def test_a_signal_carries_the_numbers_that_led_to_it_as_decimals() -> None:
    (signal,) = taught(DOWN).on_bar(bar(at("10:00"), 120), FLAT)
    assert signal.instrument_id == SHARE
    assert signal.at == at("10:00")
    assert signal.trace["fast"] > signal.trace["slow"]
    assert all(type(number) is Decimal for number in signal.trace.values())


TICKS = [
    # what is held, entered at 200                               clock    price     what it does
    ("long, above its stop", LONG, "10:00", "199.05", []),
    ("long, at its stop", LONG, "10:00", "199.00", [(STOP, SELL, 100)]),
    ("long, through its stop", LONG, "10:00", "150", [(STOP, SELL, 100)]),
    ("short, below its stop", SHORT, "10:00", "200.95", []),
    ("short, at its stop", SHORT, "10:00", "201.00", [(STOP, BUY, 100)]),
    ("long, a second before square-off", LONG, "15:14:59", "200", []),
    ("long, at square-off", LONG, "15:15", "200", [(SQUARE_OFF, SELL, 100)]),
    ("short, after square-off", SHORT, "15:20", "200", [(SQUARE_OFF, BUY, 100)]),
    ("long, at square-off and through its stop", LONG, "15:15", "150", [(SQUARE_OFF, SELL, 100)]),
    ("flat, at square-off", FLAT, "15:15", "200", []),
    ("an exit is under way", Holding(position=LONG.position, open_sell=100), "15:15", "200", []),
    ("half an exit is under way", Holding(position=LONG.position, open_sell=60), "10:00", "1", [(STOP, SELL, 40)]),
    ("more than an exit is under way", Holding(position=SHORT.position, open_buy=150), "10:00", "999", []),
    ("an entry is under way", Holding(position=LONG.position, open_buy=50), "10:00", "1", [(STOP, SELL, 100)]),
]


@pytest.mark.parametrize(
    ("holding", "clock", "price", "expected"), [row[1:] for row in TICKS], ids=[row[0] for row in TICKS]
)
def test_what_a_price_between_bars_makes_it_do(
    holding: Holding, clock: str, price: str, expected: list[tuple[SignalKind, Side, int]]
) -> None:
    signals = taught(UP).on_tick(tick(clock, price), holding)
    assert [(signal.kind, signal.side, signal.quantity) for signal in signals] == expected
    assert all(signal.quantity <= holding.reducible for signal in signals)


@pytest.mark.parametrize(
    "wrong",
    [
        {"fast": "20", "slow": "20"},
        {"fast": "1"},
        {"quantity": "0"},
        {"stop_percent": "0"},
        {"stop_percent": "NaN"},
        {"square_off": "25:00"},
        {"fats": "5"},
    ],
)
def test_wrong_parameters_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        build_strategy("ema_crossover", instrument_id=SHARE, parameters=wrong)


def test_a_strategy_is_built_by_its_name_and_an_unknown_name_lists_the_known_ones() -> None:
    assert isinstance(build_strategy("ema_crossover", instrument_id=SHARE, parameters={"fast": "3"}), EmaCrossover)
    with pytest.raises(UnknownStrategy, match="ema_crossover"):
        build_strategy("martingale", instrument_id=SHARE, parameters={})
