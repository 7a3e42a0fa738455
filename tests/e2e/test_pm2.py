"""PM2 with our own list of processes: it starts them, brings killed ones back, scales, reloads and stops them."""

import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.infra.embedded.processes import command_line, wait_until
from scripts.launch.health import wait_until_ready
from scripts.launch.pm2 import Pm2
from tests.harness.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
ROLES = {"exchange": 1, "api": 1, "worker": 2, "keeper": 1, "feed": 1, "scheduler": 1}
SETTLE_S = 30.0

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    """Return the environment of the roles: servers, ports and files of this test's own."""
    return {
        **os.environ,
        "SAUDA_DATABASE_URL": database_url,
        "SAUDA_REDIS_URL": redis_url,
        "SAUDA_SECRET_KEY": secrets.token_urlsafe(48),
        "SAUDA_EXCHANGE_CONTROL_KEY": secrets.token_urlsafe(48),
        "SAUDA_API_PORT": str(free_port()),
        "SAUDA_EXCHANGE_PORT": str(free_port()),
        "SAUDA_DATA_DIR": str(tmp_path / "data"),
    }


@pytest.fixture
def pm2(settings: dict[str, str], tmp_path: Path) -> Iterator[Pm2]:
    """Return a PM2 of this test's own, not started yet."""
    home = tmp_path / "pm2"
    home.mkdir(mode=0o700)
    supervisor = Pm2(ROOT, settings, home=home)
    yield supervisor
    supervisor.stop()


def online(pm2: Pm2, role: str) -> set[int]:
    """Return the process ids of a role that PM2 calls online and that are alive."""
    return {pid for pid, status in pm2.processes().get(role, []) if status == "online" and command_line(pid)}


def test_killed_workers_come_back_and_their_number_follows_the_operator(pm2: Pm2, settings: dict[str, str]) -> None:
    pm2.start()
    wait_until_ready(int(settings["SAUDA_API_PORT"]), say=print, failed=list)
    assert {role: len(online(pm2, role)) for role in ROLES} == ROLES

    victim, other = sorted(online(pm2, "worker"))
    os.kill(victim, signal.SIGKILL)
    assert wait_until(lambda: len(online(pm2, "worker") - {victim}) == 2, timeout_s=SETTLE_S)
    assert other in online(pm2, "worker")

    pm2.scale("worker", 4)
    assert wait_until(lambda: len(online(pm2, "worker")) == 4, timeout_s=SETTLE_S)
    pm2.scale("worker", 1)
    assert wait_until(lambda: len(online(pm2, "worker")) == 1, timeout_s=SETTLE_S)

    before = online(pm2, "worker")
    pm2.reload("worker")
    assert wait_until(lambda: len(online(pm2, "worker") - before) == 1, timeout_s=SETTLE_S)

    daemon, processes = pm2.daemon_pid, [pid for role in ROLES for pid in online(pm2, role)]
    pm2.stop()
    assert daemon is not None
    assert not [command_line(pid) for pid in [daemon, *processes] if command_line(pid)]


def test_instance_counts_come_from_the_environment(settings: dict[str, str], tmp_path: Path) -> None:
    nobody = {"SAUDA_API_INSTANCES": "0", "SAUDA_KEEPERS": "0", "SAUDA_FEEDS": "0", "SAUDA_SCHEDULERS": "0"}
    home = tmp_path / "pm2"
    home.mkdir(mode=0o700)
    pm2 = Pm2(ROOT, {**settings, **nobody, "SAUDA_WORKERS": "3"}, home=home)
    try:
        pm2.start()
        assert {role: len(copies) for role, copies in pm2.processes().items()} == {"exchange": 1, "worker": 3}
    finally:
        pm2.stop()
