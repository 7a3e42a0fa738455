"""Rows of the books as JSON text, kept where they can no longer change.

A client with ten thousand orders reads its books every second: making every row anew would keep the market
waiting for half a second each time.
"""

import json

from app.exchange.fields import Json

ROWS_MAX = 100_000
"""Of about 800 bytes each; past this the rows are made anew, which is only slower."""


class EncodedRows:
    """Keeps the JSON text of rows by id, as long as they are final."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def clear(self) -> None:
        """Forget all rows: they are written in another way from now on."""
        self._texts.clear()

    def get(self, row_id: str) -> str | None:
        """Return the text of a final row, or None when it must be made."""
        return self._texts.get(row_id)

    def encode(self, row_id: str, row: dict[str, Json], *, final: bool) -> str:
        """Return the text of a row, and keep it if the row is final."""
        text = json.dumps(row, separators=(",", ":"))
        if final:
            if len(self._texts) >= ROWS_MAX:
                self._texts.clear()
            self._texts[row_id] = text
        return text
