"""The recorded days under data/sample/: real one-minute bars of NSE, with the oddities of their source taken out.

What is taken out: minutes that stand twice (all of the index), bars outside 09:15-15:30 IST (pre-open, post-close and
one evening session). Prices of shares are scaled by 10,000 in the files, those of the index are not.
"""

import csv
import gzip
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from app.core.bars import Bar
from app.core.instruments import Exchange, Instrument, InstrumentKind
from app.infra.clock import IST
from app.infra.config import PROJECT_ROOT
from app.infra.ids import new_id

SAMPLE_DIR = PROJECT_ROOT / "data" / "sample"
SCALE = Decimal(10_000)
DAY_FORMAT = "%Y%m%d"
OPENS = time(9, 15)
CLOSES = time(15, 30)
FILES = {
    "YESBANK": "yesbank_2019_minute.csv.gz",
    "JUNIORBEES": "juniorbees_2019-01-01_04_minute.csv.gz",
    "NIFTY50": "nifty50_2019-01-01_04_minute.csv.gz",
}


class SampleInstrument(NamedTuple):
    """A row of instruments.csv."""

    instrument: Instrument
    broker: str
    trading_symbol: str
    token: str


class NoSuchDay(LookupError):
    """The sample has no bars of that day."""


@dataclass(frozen=True, slots=True)
class SampleDay:
    """All bars of one day, minute by minute."""

    day: date
    minutes: list[tuple[datetime, list[Bar]]]

    @property
    def bar_count(self) -> int:
        """How many bars the day has, over all instruments."""
        return sum(len(bars) for _, bars in self.minutes)


def sample_instruments(folder: Path = SAMPLE_DIR) -> list[SampleInstrument]:
    """Return the instruments of the sample; their ids are new, and count only where none is stored yet."""
    with (folder / "instruments.csv").open(newline="") as file:
        return [
            SampleInstrument(
                Instrument(
                    id=new_id(),
                    exchange=Exchange(row["exchange"]),
                    symbol=row["symbol"],
                    name=row["name"],
                    kind=InstrumentKind(row["kind"]),
                    tick_size=Decimal(row["tick_size"]),
                    lot_size=int(row["lot_size"]),
                    freeze_quantity=int(row["freeze_quantity"]) if row["freeze_quantity"] else None,
                ),
                row["broker"],
                row["trading_symbol"],
                row["token"],
            )
            for row in csv.DictReader(file)
        ]


def sample_days(folder: Path = SAMPLE_DIR) -> list[date]:
    """Return all days with regular trading, oldest first."""
    seen: set[str] = set()
    for filename in FILES.values():
        # One row in the session tells about its day: parsing the others too would take a second.
        for row in _rows(folder / filename, lambda day: day not in seen):
            if row.in_session:
                seen.add(row.day)
    return sorted(datetime.strptime(day, DAY_FORMAT).replace(tzinfo=IST).date() for day in seen)


def load_day(day: date, instrument_ids: dict[str, UUID], folder: Path = SAMPLE_DIR) -> SampleDay:
    """Return the bars of a day, for the instruments whose ids are given by symbol; raises `NoSuchDay`."""
    wanted = day.strftime(DAY_FORMAT)
    minutes: dict[datetime, dict[UUID, Bar]] = defaultdict(dict)
    for symbol, instrument_id in instrument_ids.items():
        if symbol not in FILES:
            continue
        scale = Decimal(1) if symbol == "NIFTY50" else SCALE
        for row in _rows(folder / FILES[symbol], wanted.__eq__):
            # A minute that stands twice is the same bar twice: the first one counts.
            if row.in_session and instrument_id not in minutes[row.start]:
                minutes[row.start][instrument_id] = _bar(instrument_id, row, scale)
    found = [(start, list(bars.values())) for start, bars in sorted(minutes.items()) if bars]
    if not found:
        raise NoSuchDay(f"the sample has no bars of {day}; --list-days lists what it has")
    return SampleDay(day, found)


class _Row(NamedTuple):
    day: str
    start: datetime
    values: list[str]

    @property
    def in_session(self) -> bool:
        return OPENS <= self.start.time() < CLOSES


def _rows(path: Path, wanted: Callable[[str], bool]) -> Iterator[_Row]:
    """Return the rows of those days that are wanted when they are come to."""
    with gzip.open(path, "rt", newline="") as file:
        reader = csv.reader(file)
        next(reader)
        for day, milliseconds, *values in reader:
            if wanted(day):
                midnight = datetime.strptime(day, DAY_FORMAT).replace(tzinfo=IST)
                yield _Row(day, midnight + timedelta(milliseconds=int(milliseconds)), values)


def _bar(instrument_id: UUID, row: _Row, scale: Decimal) -> Bar:
    opened, high, low, close = (Decimal(value) / scale for value in row.values[:4])
    return Bar(
        instrument_id=instrument_id,
        start=row.start,
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=int(row.values[4]),
    )
