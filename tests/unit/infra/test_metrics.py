"""Counts of processes: kept in files that add up, cleaned of what is old, and never in the way."""

import os
import subprocess
import sys
import time
from pathlib import Path

from app.infra.metrics import KEEP_DEAD_S, gathered, metrics_folder

COUNT = """
import sys
from pathlib import Path
from app.infra.metrics import BROKER_CALLS, keep_in_files
keep_in_files(Path(sys.argv[1]), role=sys.argv[2])
BROKER_CALLS.labels("PLACE", "Accepted").inc(int(sys.argv[3]))
"""


def count(folder: Path, role: str, number: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", COUNT, str(folder), role, str(number)], capture_output=True, text=True, check=True
    )
    return done.stdout + done.stderr


def total(folder: Path) -> list[str]:
    text = gathered(folder, {}).decode()
    return [line.split()[-1] for line in text.splitlines() if line.startswith("sauda_broker_writes_total{")]


def test_what_several_processes_counted_is_added_up(tmp_path: Path) -> None:
    folder = metrics_folder(tmp_path)
    assert gathered(folder, {}) == b""
    for role, number in (("worker", 2), ("worker", 3), ("keeper", 4)):
        count(folder, role, number)
    assert total(folder) == ["9.0"]


def test_gauges_of_the_moment_stand_beside_the_counts(tmp_path: Path) -> None:
    text = gathered(tmp_path, {"sauda_test": ("A test", "kind", {"a": 1, "b": 2.5})}).decode().splitlines()
    assert "# HELP sauda_test A test" in text
    assert {'sauda_test{kind="a"} 1.0', 'sauda_test{kind="b"} 2.5'} <= set(text)


def test_counts_of_processes_that_ended_long_ago_go_and_younger_ones_stay(tmp_path: Path) -> None:
    count(tmp_path, "worker", 2)
    (old,) = tmp_path.glob("*.db")
    count(tmp_path, "keeper", 3)
    long_ago = time.time() - KEEP_DEAD_S - 60
    os.utime(old, (long_ago, long_ago))
    count(tmp_path, "feed", 4)
    assert not old.exists()
    running = tmp_path / f"counter_standby-{os.getpid()}.db"
    running.touch()
    os.utime(running, (long_ago, long_ago))
    count(tmp_path, "feed", 0)
    assert running.exists()
    running.unlink()
    assert total(tmp_path) == ["7.0"]


def test_a_folder_that_cannot_be_made_costs_the_counts_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "metrics.not_kept" in count(tmp_path / "file" / "metrics", "worker", 1)
