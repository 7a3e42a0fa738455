"""Running the application's own commands, `python -m app ...`, as a user would."""

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from app.infra.embedded.processes import command_line, end_process, read_pid
from scripts.launch import interrupts
from scripts.launch.console import LaunchError

STEP_TIMEOUT_S = 120.0
END_TIMEOUT_S = 15.0


class AppCommands:
    """The application's command line, run in the project with the settings of this start."""

    def __init__(self, root: Path, environment: Mapping[str, str]) -> None:
        """Keep where to run and with which settings."""
        self._root = root
        self._environment = environment
        self._attached_pid = root / "data" / "attached.pid"
        self.log = root / "logs" / "launch.log"

    def step(self, *arguments: str) -> str:
        """Run a short command and return what it printed.

        Raises:
            LaunchError: it failed or took too long; its output is in the log.
        """
        name = f"python -m app {' '.join(arguments)}"
        try:
            done = subprocess.run(
                [sys.executable, "-m", "app", *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=STEP_TIMEOUT_S,
                check=False,
                cwd=self._root,
                env=dict(self._environment),
            )
        except subprocess.TimeoutExpired as error:
            message = f"{name} did not end within {STEP_TIMEOUT_S:.0f} s: look at logs/ and try again"
            raise LaunchError(message) from error
        if done.returncode != 0:
            with self.log.open("a") as log:
                log.write(f"$ {name}\n{done.stdout}{done.stderr}\n")
            said = (done.stderr or done.stdout).strip().splitlines() or ["it printed nothing"]
            message = f"{name} failed: {said[-1].strip()} (log: {self.log})"
            raise LaunchError(message)
        return done.stdout.strip()

    def attached(self, *arguments: str) -> int:
        """Run a long command that prints for itself, and return its exit code. It ends when we are interrupted."""
        process = None
        try:
            with interrupts.held():
                process = subprocess.Popen(
                    [sys.executable, "-m", "app", *arguments],
                    stdin=subprocess.DEVNULL,
                    cwd=self._root,
                    env=dict(self._environment),
                )
                self._attached_pid.write_text(str(process.pid))
            return process.wait()
        finally:
            if process is not None and process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=END_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            self._attached_pid.unlink(missing_ok=True)

    def end_leftover(self) -> None:
        """End the long command of an earlier start that was killed before it could do so itself.

        Raises:
            EmbeddedServerError: the process survives every signal.
        """
        pid = read_pid(self._attached_pid)
        if pid is not None and " -m app " in command_line(pid):
            end_process(pid, polite=signal.SIGTERM, firm=signal.SIGKILL, timeout_s=END_TIMEOUT_S)
        self._attached_pid.unlink(missing_ok=True)
