"""One role of the system in a process of its own, which can be killed, frozen and brought back."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[2]
STOP_TIMEOUT_S = 30.0
"""Longer than a worker's drain."""

TAIL_BYTES = 3_000


class RoleProcess:
    """Running from the moment it is made until `stop`; ended by its process id."""

    def __init__(self, role: str, environment: Mapping[str, str], log_path: Path) -> None:
        self.role = role
        self.log_path = log_path
        self.paused = False
        self.extra: Mapping[str, str] = {}
        self._environment = dict(environment)
        self._process = self._start()

    @property
    def pid(self) -> int:
        """Process id of the running role."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended; a frozen one has not."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How the process ended: below zero by that signal; None while it has not."""
        return self._process.poll()

    @property
    def frozen(self) -> bool:
        """Whether the kernel holds the process stopped, whoever stopped it."""
        try:
            after_name = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
        except OSError:
            return False
        return after_name.split()[0] == "T"

    def restart(self) -> None:
        """SIGKILL the process and start another at once, as a supervisor would."""
        self.kill()
        self.start()

    def kill(self) -> None:
        """SIGKILL the process and leave it down."""
        self._process.kill()
        self._process.wait()
        self.paused = False

    def start(self, extra: Mapping[str, str] | None = None) -> None:
        """Start a role that was killed or stopped, with more environment where that is given."""
        self.paused = False
        self.extra = extra or {}
        self._process = self._start()

    def pause(self) -> None:
        """Freeze the process: its connections stay open and it does nothing."""
        self._process.send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        """Let a frozen process go on."""
        self._process.send_signal(signal.SIGCONT)
        self.paused = False

    def ask_to_stop(self) -> None:
        """Send SIGTERM, to a frozen process too, and do not wait."""
        if self.running:
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the process, orderly where it lets itself be ended."""
        self.ask_to_stop()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def log_tail(self) -> str:
        """Return the last lines of the process' log."""
        with self.log_path.open("rb") as log:
            log.seek(max(0, self.log_path.stat().st_size - TAIL_BYTES))
            return log.read().decode(errors="replace")

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "app", self.role],
                cwd=PROJECT_ROOT,
                env=os.environ | self._environment | dict(self.extra),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for us: we end the roles in their order
            )
