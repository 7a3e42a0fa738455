"""A real PostgreSQL of our own: loopback TCP only, behind a password, durable unless asked otherwise."""

import secrets
import shutil
import signal
import tempfile
import time
from functools import cached_property
from pathlib import Path

from app.infra.embedded.postgres_home import PostgresHome, find_home
from app.infra.embedded.processes import (
    BACKGROUND,
    POLL_S,
    EmbeddedServerError,
    command_line,
    end_process,
    last_lines,
    read_pid,
    wait_until,
    write_private,
)

ROLE = "sauda"
DATABASE = "sauda"
REFUGE_ROOT = Path("/var/lib/sauda")
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
COMMAND_TIMEOUT_S = 120.0
MAX_CONNECTIONS = 200
LOG_BYTES_MAX = 10_000_000
PORT_LINE = 3
"""Line of postmaster.pid, counted from 0."""
STATUS_LINE = 7
"""Line of postmaster.pid that says "ready" once the server takes connections."""
IMPOSSIBLE_PID = 2**22 + 1
"""Above what any Linux or macOS gives out."""
SHUTDOWN_INCOMPLETE = "still in use"
"""What PostgreSQL says while backends of a killed server are still on their way out."""


class EmbeddedPostgres:
    """One PostgreSQL server whose cluster, password and log live in `data_dir`.

    As root the server runs as an unprivileged user. Where that user cannot reach `data_dir` the cluster and its
    password live in a folder under `refuge_root` instead, and `home.note` says so in one line.
    """

    def __init__(self, data_dir: Path, port: int, *, durable: bool = True, refuge_root: Path = REFUGE_ROOT) -> None:
        """Describe the server; nothing starts before `start`. `durable=False` trades crash safety for test speed."""
        self._dir = data_dir
        self._port = port
        self._durable = durable
        self._refuge_root = refuge_root
        self.log = data_dir / "postgres.log"

    @cached_property
    def home(self) -> PostgresHome:
        """Where the server lives and as whom it runs."""
        return find_home(self._dir, self._refuge_root)

    @property
    def pid(self) -> int | None:
        """Process id of the running server, None when it does not run."""
        pid = read_pid(self._pid_file)
        return pid if pid is not None and str(self.home.cluster) in command_line(pid) else None

    def start(self) -> str:
        """Start the server unless it runs already, and return its SQLAlchemy URL.

        Raises:
            EmbeddedServerError: no programs, no user to run it, or the server did not come up in time.
        """
        password = self._password()
        if self.pid is not None and self._pid_file_line(PORT_LINE) != str(self._port):
            self.stop()
        if self.pid is None:
            if not (self.home.cluster / "PG_VERSION").exists():
                self._create_cluster(password)
            self._start_server()
        elif not wait_until(self._ready, timeout_s=START_TIMEOUT_S):
            raise self._not_started()
        return f"postgresql+asyncpg://{ROLE}:{password}@127.0.0.1:{self._port}/{DATABASE}"

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server; nothing happens when it does not run. `immediate` skips the orderly shutdown.

        Raises:
            EmbeddedServerError: the process cannot be ended.
        """
        pid = self.pid
        if pid is not None:
            polite = signal.SIGQUIT if immediate else signal.SIGINT
            end_process(pid, polite=polite, firm=signal.SIGQUIT, timeout_s=STOP_TIMEOUT_S)

    def _password(self) -> str:
        path = self.home.cluster.with_name("password")  # beside the cluster, wherever that is: they go together
        if not path.exists():
            write_private(path, secrets.token_urlsafe(24))
        return path.read_text().strip()

    def _create_cluster(self, password: str) -> None:
        # Made beside its place and moved there when whole: an interrupted first start leaves no half cluster behind.
        workshop = self._workshop()
        try:
            secret = workshop / "password"
            write_private(secret, password)
            self.home.user.own(secret)
            fresh = workshop / "cluster"
            command = ["initdb", "-D", str(fresh), "-U", ROLE, f"--pwfile={secret}"]
            command += ["--auth=scram-sha-256", "--no-locale", "--encoding=UTF8"]
            self._must(command + ([] if self._durable else ["--no-sync"]))
            self._must(["postgres", "--single", "-D", str(fresh), "postgres"], f"CREATE DATABASE {DATABASE}\n")
            if self.home.cluster.exists():
                shutil.rmtree(self.home.cluster)
            fresh.rename(self.home.cluster)
        finally:
            shutil.rmtree(workshop)

    def _workshop(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="new-", dir=self.home.cluster.parent))
        self.home.user.own(folder)
        return folder

    def _must(self, command: list[str], text_in: str = "") -> None:
        program = self.home.bin_dir / command[0]
        done = self.home.user.run([str(program), *command[1:]], timeout_s=COMMAND_TIMEOUT_S, text_in=text_in)
        if done.returncode != 0:
            said = " | ".join(line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip())
            message = f"PostgreSQL's {command[0]} failed: {said[-400:]}"
            raise EmbeddedServerError(message)

    def _start_server(self) -> None:
        self._disown_stale_pid_file()
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES_MAX:
            self.log.unlink()
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if self._comes_up(self._spawn()):
                return
            if SHUTDOWN_INCOMPLETE not in last_lines(self.log) or time.monotonic() > deadline:
                raise self._not_started()
            time.sleep(POLL_S)

    def _comes_up(self, pid: int) -> bool:
        wait_until(lambda: self._ready() or not command_line(pid), timeout_s=START_TIMEOUT_S)
        return self._ready()

    def _disown_stale_pid_file(self) -> None:
        # After a kill -9 the number in the file may belong to a stranger, and PostgreSQL would refuse to start. The
        # rest of the file must stay: by it PostgreSQL sees whether backends of the killed server still write.
        if self._pid_file.exists():
            lines = self._pid_file.read_text().split("\n")
            self._pid_file.write_text("\n".join([str(IMPOSSIBLE_PID), *lines[1:]]))

    def _spawn(self) -> int:
        """Start the server process in the background and return its id."""
        settings = {
            "port": str(self._port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": str(MAX_CONNECTIONS),
            "log_timezone": "UTC",
            "timezone": "UTC",
            "log_min_messages": "warning",
        }
        if not self._durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        command = [str(self.home.bin_dir / "postgres"), "-D", str(self.home.cluster)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            return int(self.home.user.run([*BACKGROUND, *command], timeout_s=COMMAND_TIMEOUT_S, stderr=log).stdout)

    def _ready(self) -> bool:
        return self.pid is not None and self._pid_file_line(STATUS_LINE) == "ready"

    def _not_started(self) -> EmbeddedServerError:
        said = last_lines(self.log)
        return EmbeddedServerError(f"PostgreSQL did not start on port {self._port}: {said} (log: {self.log})")

    @property
    def _pid_file(self) -> Path:
        return self.home.cluster / "postmaster.pid"

    def _pid_file_line(self, number: int) -> str:
        try:
            lines = self._pid_file.read_text().split("\n")
        except FileNotFoundError:
            return ""
        return lines[number].strip() if number < len(lines) else ""
