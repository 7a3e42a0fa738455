"""The broker records in config/ are read strictly."""

from pathlib import Path

import pytest

from app.brokers.base import EndpointGroup
from app.brokers.records import RECORDS_DIR, BrokerRecordError, load_records

GOOD = (RECORDS_DIR / "angelone.yaml").read_text(encoding="utf-8")


def test_the_records_of_the_repository_load() -> None:
    records = load_records()
    assert set(records) == {"angelone", "null"}
    angelone = records["angelone"]
    assert angelone.live_hosts == ["apiconnect.angelone.in"]
    assert angelone.limits[EndpointGroup.ORDERS].per_second == 9
    assert angelone.capabilities.tag_length_max == 19


def test_every_live_host_lies_in_a_live_domain() -> None:
    for record in load_records().values():
        for host in record.live_hosts:
            assert any(host.endswith("." + domain) for domain in record.live_domains)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: angelone", "name: other"),
        ("live_hosts:", "life_hosts:"),
        ("live_domains:", "more: 1\nlive_domains:"),
        ("connect_s: 2.0", "connect_s: '2.0'"),
        ("connect_s: 2.0", "connect_s: -1"),
        ("connect_s: 2.0", "connect_s: .inf"),
        ("connect_s: 2.0", "connect_s: 2.0\n  other_s: 1"),
        ("per_second: 9", "per_second: 0"),
        ("orders:", "ordering:"),
        ("books: true", "books: 1"),
        ("  - apiconnect.angelone.in", "  - APICONNECT.angelone.in"),
        ("  - apiconnect.angelone.in", "  - https://apiconnect.angelone.in"),
        ("name: angelone", "name: [angelone"),
        ("name: angelone", "name: 2026-01-01"),
    ],
)
def test_a_record_with_anything_odd_in_it_is_refused(tmp_path: Path, old: str, new: str) -> None:
    assert old in GOOD
    (tmp_path / "angelone.yaml").write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BrokerRecordError, match=r"angelone\.yaml"):
        load_records(tmp_path)


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokerRecordError):
        load_records(tmp_path)


def test_a_record_that_cannot_be_read_fails_them_all(tmp_path: Path) -> None:
    (tmp_path / "angelone.yaml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "other.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BrokerRecordError, match=r"other\.yaml"):
        load_records(tmp_path)
