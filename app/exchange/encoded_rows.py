"""Rows of the books as JSON text, kept until they change.

A client with ten thousand orders reads its books every second: making every row anew would keep the market
waiting for half a second each time.
"""

import json

from app.exchange.fields import Json

ROWS_MAX = 100_000
"""Of about 800 bytes each; past this the rows are made anew, which is only slower."""


FINAL = -1
"""The revision of a row that can no longer change."""


class EncodedRows:
    """Keeps the JSON text of rows by id, each as of one revision."""

    def __init__(self) -> None:
        self._texts: dict[str, tuple[int, str]] = {}

    def clear(self) -> None:
        """Forget all rows: they are written in another way from now on."""
        self._texts.clear()

    def get(self, row_id: str, revision: int) -> str | None:
        """Return the text of a row as of a revision, or None when it must be made."""
        known = self._texts.get(row_id)
        return known[1] if known is not None and known[0] == revision else None

    def encode(self, row_id: str, revision: int, row: dict[str, Json]) -> str:
        """Return the text of a row, and keep it until the row has another revision."""
        text = json.dumps(row, separators=(",", ":"))
        if len(self._texts) >= ROWS_MAX and row_id not in self._texts:
            self._texts.clear()
        self._texts[row_id] = (revision, text)
        return text
