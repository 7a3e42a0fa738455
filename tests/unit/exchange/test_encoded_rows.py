"""Rows are made anew when they have changed, and only then; what is kept is bounded."""

import pytest

from app.exchange import encoded_rows
from app.exchange.encoded_rows import FINAL, EncodedRows


def test_a_row_is_kept_until_it_has_another_revision() -> None:
    rows = EncodedRows()
    assert rows.encode("1", 0, {"a": 1}) == '{"a":1}'
    assert rows.get("1", 0) == '{"a":1}'
    assert rows.get("1", 1) is None
    rows.encode("1", FINAL, {"a": 2})
    assert rows.get("1", FINAL) == '{"a":2}'
    rows.clear()
    assert rows.get("1", FINAL) is None


def test_it_forgets_rather_than_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded_rows, "ROWS_MAX", 2)
    rows = EncodedRows()
    for row_id in "abbc":
        rows.encode(row_id, FINAL, {})
    assert [rows.get(row_id, FINAL) for row_id in "abc"] == [None, None, "{}"]
