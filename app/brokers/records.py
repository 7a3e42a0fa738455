"""Reads the broker records from config/brokers/."""

import json
from pathlib import Path

import yaml

from app.brokers.base import BrokerRecord
from app.infra.config import PROJECT_ROOT

RECORDS_DIR = PROJECT_ROOT / "config" / "brokers"


class BrokerRecordError(ValueError):
    """A broker record is missing, malformed or contradicts its file's name."""


def load_records(folder: Path = RECORDS_DIR) -> dict[str, BrokerRecord]:
    """Return all records by name. One bad file fails them all, as its live hosts would else be unknown.

    Raises `BrokerRecordError`.
    """
    records = {path.stem: _load(path) for path in sorted(folder.glob("*.yaml"))}
    if not records:
        raise BrokerRecordError(f"no broker records in {folder}")
    return records


def _load(path: Path) -> BrokerRecord:
    try:
        # By JSON's rules text may name an enum's member, while a number still may not be text.
        facts = json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")))
        record = BrokerRecord.model_validate_json(facts)
    except (OSError, TypeError, ValueError, yaml.YAMLError) as exc:
        raise BrokerRecordError(f"{path.name}: {exc}") from exc
    if record.name != path.stem:
        raise BrokerRecordError(f"{path.name}: the record inside is named {record.name!r}")
    return record
