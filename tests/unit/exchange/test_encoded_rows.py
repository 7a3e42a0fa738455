"""Rows that can still change are made anew each time, finished ones are kept within bounds."""

import pytest

from app.exchange import encoded_rows
from app.exchange.encoded_rows import EncodedRows


def test_only_final_rows_are_kept() -> None:
    rows = EncodedRows()
    assert rows.encode("1", {"a": 1}, final=False) == '{"a":1}'
    assert rows.get("1") is None
    rows.encode("1", {"a": 2}, final=True)
    assert rows.get("1") == '{"a":2}'
    rows.clear()
    assert rows.get("1") is None


def test_it_forgets_rather_than_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded_rows, "ROWS_MAX", 2)
    rows = EncodedRows()
    for row_id in "abc":
        rows.encode(row_id, {}, final=True)
    assert [rows.get(row_id) for row_id in "abc"] == [None, None, "{}"]
