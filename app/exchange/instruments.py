"""The instruments that the paper exchange lists: reading them from a file and finding them by their wire names."""

import csv
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from pathlib import Path

from app.core.errors import SaudaError
from app.core.instruments import Exchange, InstrumentKind
from app.exchange.settings import ExchangeInstrument

BROKER = "angelone"
"""The rows of the instruments file that carry the names of the wire spoken here."""


class InstrumentsUnreadable(SaudaError):
    """The instruments file cannot be used; the message names the line and what is wrong."""

    code = "instruments_unreadable"


class InstrumentIndex:
    """Finds instruments by exchange and token; several names for one instrument are not a thing here."""

    def __init__(self, instruments: Iterable[ExchangeInstrument]) -> None:
        self._by_key = {instrument.key: instrument for instrument in instruments}

    def get(self, key: str) -> ExchangeInstrument | None:
        """Return the instrument of a key such as `NSE:11915`, or None."""
        return self._by_key.get(key)

    def search(self, exchange: str, text: str, limit: int = 50) -> list[ExchangeInstrument]:
        """Return instruments of an exchange whose trading symbol holds the text, at most `limit`."""
        wanted = text.upper()
        hits = (i for i in self._by_key.values() if i.exchange == exchange and wanted in i.trading_symbol.upper())
        return [hit for hit, _ in zip(hits, range(limit), strict=False)]


def read_instruments(path: Path) -> list[ExchangeInstrument]:
    """Read the rows for our wire from an instruments CSV; raises `InstrumentsUnreadable`."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            return [_instrument(row) for row in reader if row.get("broker") == BROKER]
    except (OSError, UnicodeDecodeError) as error:
        raise InstrumentsUnreadable(f"{path}: {error}") from error
    except (KeyError, ValueError, InvalidOperation, TypeError) as error:
        raise InstrumentsUnreadable(f"{path}, line {reader.line_num}: {error!r}") from error


def _instrument(row: dict[str, str]) -> ExchangeInstrument:
    tick_size = Decimal(row["tick_size"])
    lot_size = int(row["lot_size"])
    if not tick_size.is_finite() or tick_size <= 0 or lot_size <= 0 or not row["token"]:
        raise ValueError("tick_size and lot_size must be positive and token must not be empty")
    return ExchangeInstrument(
        exchange=Exchange(row["exchange"]),
        token=row["token"],
        trading_symbol=row["trading_symbol"],
        name=row["name"],
        tick_size=tick_size,
        lot_size=lot_size,
        tradable=InstrumentKind(row["kind"]) is not InstrumentKind.INDEX,
    )
