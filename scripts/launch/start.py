"""The order of a start and of a stop: secrets, ports, servers, database, processes; and all of it back again."""

import fcntl
import os
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.infra.embedded.processes import wait_until, write_private
from scripts.launch import interrupts
from scripts.launch.commands import AppCommands
from scripts.launch.console import Console, LaunchError
from scripts.launch.health import wait_until_ready
from scripts.launch.keys import load_keys
from scripts.launch.pm2 import Pm2
from scripts.launch.ports import settle_ports
from scripts.launch.servers import Servers

LOG_BYTES_MAX = 20_000_000
OTHER_START_TIMEOUT_S = 120.0
ERRORED = "errored"
SETTINGS_FILE = "running.env"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What a start leaves behind for the work that follows."""

    app: AppCommands
    api_url: str


@contextmanager
def everything(root: Path, environment: Mapping[str, str], console: Console) -> Iterator[Running]:
    """Start everything, and stop everything at the end, however the end comes.

    Raises:
        LaunchError: a step failed, or another start of this checkout runs.
        EmbeddedServerError: PostgreSQL or Redis cannot be started.
    """
    begun = time.monotonic()
    data_dir = root / "data"
    with _only_one(data_dir / "run.lock"):
        servers = Servers(data_dir, environment)
        pm2 = Pm2(root, environment)
        if pm2.daemon_pid is not None:
            console.say("stopping what an earlier start left running")
            pm2.stop()
        AppCommands(root, environment).end_leftover()
        _rotate(root / "logs")
        settings = {**environment, **load_keys(data_dir / "secrets.env", environment)}
        remembered = data_dir / "ports.json"
        try:
            with _ports_to_ourselves(console):
                ports = settle_ports(remembered, environment=environment, ours=servers.running(), say=console.say)
                settings |= {"SAUDA_API_PORT": str(ports["api"]), "SAUDA_EXCHANGE_PORT": str(ports["exchange"])}
                with interrupts.held():
                    settings |= servers.start(ports, console.say)
                _write_settings(data_dir / SETTINGS_FILE, settings)
                app = AppCommands(root, settings)
                _prepare(app, console)
                pm2 = Pm2(root, settings)
                pm2.start()
                wait_until_ready(ports["api"], say=console.say, failed=lambda: _given_up(pm2))
            console.say(f"ready after {time.monotonic() - begun:.1f} s; the processes' logs are in logs/")
            yield Running(app=app, api_url=f"http://127.0.0.1:{ports['api']}")
        finally:
            (data_dir / SETTINGS_FILE).unlink(missing_ok=True)
            _stop(pm2, servers, console)


def _prepare(app: AppCommands, console: Console) -> None:
    """Bring the database up to date, with a first administrator and the sample's instruments in it."""
    console.say("bringing the database up to date")
    created = app.step("prepare")
    if created:
        console.say(created)


def _write_settings(path: Path, settings: Mapping[str, str]) -> None:
    """Keep the settings of this start, for commands given in another terminal: scripts/ops reads them."""
    ours = {name: value for name, value in settings.items() if name.startswith("SAUDA_")}
    write_private(path, "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(ours.items())))


def _stop(pm2: Pm2, servers: Servers, console: Console) -> None:
    # From here on a second Ctrl-C must not leave half of it running. Each step has its own time-out.
    interrupts.ignore()
    if pm2.daemon_pid is not None or any(servers.running().values()):
        console.say("stopping")
    try:
        pm2.stop()
    finally:
        servers.stop()


def _given_up(pm2: Pm2) -> list[str]:
    return [name for name, copies in pm2.processes().items() if any(status == ERRORED for _, status in copies)]


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    with path.open("a+") as lock:
        if not _try_lock(lock.fileno()):
            lock.seek(0)
            holder = lock.read().strip()
            message = f"already running in this checkout: stop it first with Ctrl-C there, or: kill {holder}"
            raise LaunchError(message)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def _ports_to_ourselves(console: Console) -> Iterator[None]:
    """Let one checkout of this user choose ports and listen on them at a time: a port is seen as taken only then."""
    path = Path(tempfile.gettempdir()) / f"sauda-{os.getuid()}-start.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if not _try_lock(descriptor):
            console.say("another checkout is starting; waiting for it")
            wait_until(lambda: _try_lock(descriptor), timeout_s=OTHER_START_TIMEOUT_S)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _rotate(logs: Path) -> None:
    """Keep one older generation of each log that has grown large, so that logs stay bounded over many starts."""
    for log in logs.glob("*.log"):
        if log.stat().st_size > LOG_BYTES_MAX:
            log.replace(log.with_suffix(".log.1"))
