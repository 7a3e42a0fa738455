"""PM2 of this checkout: its own daemon in its own home, started and ended by us."""

import hashlib
import json
import os
import signal
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from app.infra.embedded.processes import command_line, end_process, last_lines, read_pid
from scripts.launch import interrupts
from scripts.launch.console import LaunchError

SOCKET_PATH_MAX = 100
"""Systems refuse socket paths beyond 104 (macOS) or 108 (Linux) bytes."""
LONGEST_SOCKET = "interactor.sock"
COMMAND_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 90.0
"""Longer than the longest kill time-out of ecosystem.config.js: workers are given their time to drain."""

STOP_ORDER = (("feed", "scheduler", "api"), ("worker",), ("keeper", "exchange"))
"""First what makes orders, then what sends them, and the market last: a draining worker still gets its answers."""


def pm2_home(root: Path) -> Path:
    """Return PM2's home in the project, or a short private folder where the path of its sockets would be too long.

    Raises:
        LaunchError: the short folder's name is taken by somebody else.
    """
    home = root / "data" / "pm2"
    if len(os.fsencode(home / LONGEST_SOCKET)) > SOCKET_PATH_MAX:
        digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
        home = Path(tempfile.gettempdir()) / f"sauda-{os.getuid()}-{digest}"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = home.lstat()
    # Anybody may make a folder in the temporary directory: one that is not ours would hand them our processes.
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid():
        message = f"{home} belongs to another user: remove it and try again"
        raise LaunchError(message)
    home.chmod(0o700)
    return home


class Pm2:
    """Commands to this checkout's PM2."""

    def __init__(self, root: Path, environment: Mapping[str, str], home: Path | None = None) -> None:
        """Describe the daemon; nothing starts before `start`."""
        self._root = root
        self._program = root / "node_modules" / ".bin" / "pm2"
        self.home = home or pm2_home(root)
        self.log = root / "logs" / "pm2.log"
        # PM2 stops with SIGINT by default; with SIGTERM a Ctrl-C and a stop can be told apart in the roles' logs.
        self._environment = {**environment, "PM2_HOME": str(self.home), "PM2_KILL_SIGNAL": "SIGTERM"}

    @property
    def daemon_pid(self) -> int | None:
        """Process id of the running daemon, None when there is none."""
        pid = read_pid(self.home / "pm2.pid")
        return pid if pid is not None and "PM2" in command_line(pid) else None

    def start(self) -> None:
        """Start every role of ecosystem.config.js.

        Raises:
            LaunchError: PM2 refused.
        """
        self._run(["start", str(self._root / "ecosystem.config.js"), "--silent"], "start the processes")

    def scale(self, role: str, count: int) -> None:
        """Set how many processes of a role run.

        Raises:
            LaunchError: PM2 refused.
        """
        self._run(["scale", role, str(count), "--silent"], f"scale {role}")

    def reload(self, role: str) -> None:
        """Replace the processes of a role one after the other.

        Raises:
            LaunchError: PM2 refused.
        """
        self._run(["reload", role, "--silent"], f"reload {role}")

    def processes(self) -> dict[str, list[tuple[int, str]]]:
        """Return process id and PM2's status of each process, by role.

        Raises:
            LaunchError: PM2 does not answer.
        """
        listed = self._run(["jlist", "--silent"], "list the processes")
        found: dict[str, list[tuple[int, str]]] = {}
        # PM2 may print notices of its own in front of the list.
        for process in json.loads(listed[listed.index("[{") :] if "[{" in listed else "[]"):
            found.setdefault(process["name"], []).append((process["pid"], process["pm2_env"]["status"]))
        return found

    def stop(self) -> None:
        """Let every process drain and end, then the daemon itself; nothing happens when there is none.

        Raises:
            LaunchError: something does not end.
        """
        daemon = self.daemon_pid
        if daemon is None:
            return
        running = self.processes()
        for group in (*STOP_ORDER, tuple(running)):
            names = [name for name in group if running.pop(name, None)]
            if names:
                self._run(["delete", *names, "--silent"], f"stop {', '.join(names)}", timeout_s=STOP_TIMEOUT_S)
        self._run(["kill", "--silent"], "stop PM2")
        if command_line(daemon):
            end_process(daemon, polite=signal.SIGTERM, firm=signal.SIGKILL, timeout_s=5.0)

    def _run(self, arguments: list[str], purpose: str, *, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        try:
            # An interrupt waits for the command to end: half a start is not known to PM2 yet and could not be stopped.
            with self.log.open("a") as log, interrupts.held():
                done = subprocess.run(
                    [str(self._program), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    timeout=timeout_s,
                    check=False,
                    cwd=self._root,
                    env=self._environment,
                    start_new_session=True,  # out of reach of a Ctrl-C in the terminal, which is for us
                )
        except (OSError, subprocess.TimeoutExpired) as error:
            message = f"PM2 could not {purpose}: {error} (log: {self.log})"
            raise LaunchError(message) from error
        if done.returncode != 0:
            message = f"PM2 could not {purpose}: {last_lines(self.log)} (log: {self.log})"
            raise LaunchError(message)
        return done.stdout
