"""The instruments file: only rows of our wire are read, and what is wrong with one is said."""

from decimal import Decimal
from pathlib import Path

import pytest

from app.exchange.instruments import InstrumentsUnreadable, read_instruments
from tests.harness.exchange import INSTRUMENTS, YESBANK, write_instruments


def test_rows_of_other_brokers_are_passed_over_and_an_index_is_not_tradable(tmp_path: Path) -> None:
    other = YESBANK.replace("angelone", "zerodha")
    instruments = read_instruments(write_instruments(tmp_path / "i.csv", (*INSTRUMENTS, other)))
    assert [i.key for i in instruments] == ["NSE:11915", "NSE:10939", "NSE:99926000", "NFO:57000"]
    assert [i.tradable for i in instruments] == [True, True, False, True]
    assert (instruments[0].tick_size, instruments[3].lot_size) == (Decimal("0.05"), 75)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("NSE,", "LSE,"),
        ("EQUITY", "COIN"),
        ("0.05", "zero"),
        ("0.05", "0"),
        (",1,", ",0,"),
        (",1,", ",,"),
        ("11915", ""),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, old: str, new: str) -> None:
    path = write_instruments(tmp_path / "i.csv", (YESBANK, YESBANK.replace(old, new, 1)))
    with pytest.raises(InstrumentsUnreadable, match="line 3"):
        read_instruments(path)


def test_a_missing_column_or_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "i.csv"
    path.write_text("broker,exchange\nangelone,NSE\n")
    with pytest.raises(InstrumentsUnreadable, match="tick_size"):
        read_instruments(path)
    with pytest.raises(InstrumentsUnreadable, match=r"missing\.csv"):
        read_instruments(tmp_path / "missing.csv")
