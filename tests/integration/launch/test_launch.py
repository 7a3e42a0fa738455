"""A start brings everything up, and every end takes everything down: servers, PM2 and its processes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from app.infra.embedded.processes import wait_until

PROJECT = Path(__file__).resolve().parents[3]
STUB = Path(__file__).with_name("stub_app.py")

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def root() -> Iterator[Path]:
    """Return a checkout with a space in its path, whose application is the stub."""
    with checkout() as folder:
        yield folder


@pytest.fixture
def another_root() -> Iterator[Path]:
    """Return one more such checkout."""
    with checkout() as folder:
        yield folder


@contextmanager
def checkout() -> Iterator[Path]:
    """Make a checkout, and end whatever a failed test left running in it."""
    with tempfile.TemporaryDirectory(prefix="sauda run ", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(PROJECT / "scripts", folder / "scripts")
        shutil.copytree(PROJECT / "app" / "infra", folder / "app" / "infra")
        shutil.copy(PROJECT / "app" / "__init__.py", folder / "app")
        shutil.copy(STUB, folder / "app" / "__main__.py")
        shutil.copy(PROJECT / "ecosystem.config.js", folder)
        for linked in (".venv", "node_modules"):
            (folder / linked).symlink_to(PROJECT / linked)
        for made in ("data", "logs"):
            (folder / made).mkdir()
        yield folder
        for process in left_running(folder):
            process.kill()


def launch(root: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start the launcher of a checkout."""
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.launch", *arguments],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr of a launcher that ends by itself."""
    out, err = process.communicate(timeout=90)
    return process.returncode, out, err


def read_until(process: subprocess.Popen[str], text: str) -> None:
    """Read the launcher's lines up to one that contains the text."""
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(f"the launcher ended before it said {text!r}: {finish(process)}")


def left_running(root: Path) -> list[psutil.Process]:
    """Return the processes that work in or on a checkout: roles, PM2, PostgreSQL, Redis."""
    found = []
    for process in psutil.process_iter(["status", "cwd", "cmdline", "environ"]):
        info = process.info
        traces = [info["cwd"] or "", *(info["cmdline"] or []), (info["environ"] or {}).get("PM2_HOME", "")]
        if info["status"] != psutil.STATUS_ZOMBIE and any(str(root) in trace for trace in traces):
            found.append(process)
    return found


def all_gone(root: Path) -> bool:
    """Whether nothing of a checkout runs any more, at once or very soon."""
    return wait_until(lambda: not left_running(root), timeout_s=5)


def test_a_replay_starts_everything_passes_its_answer_on_and_stops_everything(root: Path) -> None:
    code, out, err = finish(launch(root, "--replay", "sample", "--speed", "0", "--until-done", "--json"))
    assert code == 0, err
    assert json.loads(out) == {"day": "2019-01-01"}
    assert "administrator admin, password xyz" in err
    assert all_gone(root)


def test_the_exit_code_of_a_failed_replay_is_passed_on(root: Path) -> None:
    code, _, err = finish(launch(root, "--replay", "broken", "--until-done"))
    assert code == 3
    assert "no such day: broken" in err
    assert "Traceback" not in err
    assert all_gone(root)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_everything(root: Path, number: signal.Signals, code: int) -> None:
    process = launch(root)
    read_until(process, "API documentation")
    process.send_signal(number)
    ended, _, err = finish(process)
    assert ended == code
    assert "Traceback" not in err
    assert all_gone(root)


def test_a_second_start_of_a_checkout_is_refused_and_a_killed_one_is_cleaned_up_by_the_next(root: Path) -> None:
    first = launch(root)
    read_until(first, "API documentation")
    code, _, err = finish(launch(root))
    assert code == 1
    assert "already running in this checkout" in err
    assert f"kill {first.pid}" in err

    first.kill()
    first.wait()
    for pipe in (first.stdout, first.stderr):
        assert pipe is not None
        pipe.close()
    code, out, err = finish(launch(root, "--replay", "sample", "--until-done"))
    assert code == 0, err
    assert "stopping what an earlier start left running" in out
    assert all_gone(root)


def test_a_taken_port_that_was_asked_for_is_one_line_and_nothing_is_left_behind(root: Path) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = str(stranger.getsockname()[1])
        code, out, err = finish(launch(root, "--replay", "sample", "--until-done", SAUDA_API_PORT=port))
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert f"port {port} (SAUDA_API_PORT) is in use" in err
    assert all_gone(root)


def test_two_checkouts_started_at_once_do_not_collide(root: Path, another_root: Path) -> None:
    both = [launch(folder, "--replay", "sample", "--until-done", "--json") for folder in (root, another_root)]
    for code, out, err in map(finish, both):
        assert (code, out) == (0, '{"day": "2019-01-01"}\n'), err
    assert all_gone(root)
    assert all_gone(another_root)


def test_the_days_are_listed_without_starting_anything(root: Path) -> None:
    assert finish(launch(root, "--list-days"))[:2] == (0, "2019-01-01\n")
    assert not (root / "data" / "postgres").exists()


@pytest.mark.parametrize("arguments", [["--json"], ["--speed", "2"], ["--replay", "x", "--speed", "-1"], ["--wrong"]])
def test_wrong_options_are_explained(root: Path, arguments: list[str]) -> None:
    code, _, err = finish(launch(root, *arguments))
    assert code == 2
    assert "usage: scripts/run" in err
