"""What the processes count, for Prometheus. Each keeps its counts in files that the API adds up.

A count costs a write into mapped memory, some microseconds, and waits for nothing. Before `keep_in_files`, as in tests
and commands, counts stay in the process.
"""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

from app.infra.logging import get_logger

KEEP_DEAD_S = 24 * 3600.0
"""How long the counts of an ended process are kept: sums fall when they go, and a scrape sees that as a restart."""

DUTY_BUCKETS_S = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0)
BROKER_BUCKETS_S = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# Every metric has a label, so that none has a value before it is known where the values are kept.
DUTY_SECONDS = Histogram(
    "sauda_duty_seconds", "Turns of background duties, and how long they took", ["duty"], buckets=DUTY_BUCKETS_S
)
DUTY_FAILURES = Counter("sauda_duty_failures_total", "Turns of background duties that failed", ["duty"])
DUTY_ITEMS = Counter("sauda_duty_items_total", "What background duties worked off", ["duty"])
BROKER_CALLS = Counter("sauda_broker_writes_total", "Writes to brokers by how they ended", ["kind", "outcome"])
BROKER_SECONDS = Histogram(
    "sauda_broker_write_seconds", "How long brokers took to answer writes", ["kind"], buckets=BROKER_BUCKETS_S
)
ORDERS_ENDED = Counter("sauda_orders_ended_total", "Orders by the status that they ended in", ["status"])
UNKNOWN_SETTLED = Counter("sauda_orders_settled_total", "UNKNOWN orders by what settled them", ["how"])
VERDICTS = Counter("sauda_reconciliation_verdicts_total", "Comparisons with brokers by what they found", ["verdict"])

type Gauges = dict[str, tuple[str, str, Mapping[str, float]]]
"""A gauge's name to its help, its label, and a value for each value of the label."""

log = get_logger(__name__)


def metrics_folder(data_dir: Path) -> Path:
    """Return where the processes of an installation keep their counts."""
    return data_dir / "metrics"


def keep_in_files(folder: Path, *, role: str) -> None:
    """Keep this process' counts where the API finds them; a folder that cannot be written costs the counts only."""
    # With the role: in containers that share the folder all processes may have the same number.
    name = f"{role}-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _forget_old(folder, own=name)
    except OSError as error:
        log.warning("metrics.not_kept", folder=str(folder), error=repr(error))
        return
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: name)  # type: ignore[no-untyped-call]


def gathered(folder: Path, gauges: Gauges) -> bytes:
    """Return all processes' counts in Prometheus' text format, with gauges of this moment."""
    registry = CollectorRegistry()
    if folder.is_dir():
        MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    for name, (text, label, by_value) in gauges.items():
        gauge = Gauge(name, text, [label], registry=registry)
        for value, figure in by_value.items():
            gauge.labels(value).set(figure)
    try:
        return generate_latest(registry)
    except FileNotFoundError:  # a process that starts removed an old file after it was listed
        return generate_latest(registry)


def _forget_old(folder: Path, *, own: str) -> None:
    """Remove what an earlier process of this name left, and what nobody has written for a day."""
    now = time.time()
    for file in folder.glob("*.db"):
        with suppress(FileNotFoundError):
            name = file.stem.split("_", 1)[-1]
            is_old = now - file.stat().st_mtime > KEEP_DEAD_S and not _is_running(name)
            if name == own or is_old:
                file.unlink()


def _is_running(name: str) -> bool:
    # A standby counts nothing for days.
    number = name.rpartition("-")[-1]
    return number.isdigit() and Path(f"/proc/{number}").exists()
