"""What both embedded servers share: finding their processes, waiting for them, ending them."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

BACKGROUND = ("sh", "-c", '"$@" </dev/null >&2 & echo $!', "sh")
"""Put before a command, starts it in the background and prints its id: init's child, it outlives us as it should."""

POLL_S = 0.02
"""Pause between two looks at a server that starts or stops; a start takes about half a second."""


class EmbeddedServerError(Exception):
    """An embedded server cannot be found, started or stopped. The message is one line and says what to do."""


def read_pid(pid_file: Path) -> int | None:
    """Return the process id on the first line of a pid file, None where there is none to read."""
    try:
        return int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def command_line(pid: int) -> str:
    """Return the command line of a process, empty when it is gone or a zombie.

    A pid file may outlive its server and its number may belong to a stranger by now: a live pid alone proves nothing.
    """
    proc = Path(f"/proc/{pid}/cmdline")
    if Path("/proc/self/cmdline").exists():
        try:
            return proc.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            return ""
    listed = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip()


def wait_until(condition: Callable[[], bool], *, timeout_s: float) -> bool:
    """Poll until the condition holds; False when it never did within the time-out."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def end_process(pid: int, *, polite: signal.Signals, firm: signal.Signals, timeout_s: float) -> None:
    """Ask a process to stop, and make it when it does not within the time-out.

    Raises:
        EmbeddedServerError: the process survived both signals.
    """
    for wanted, patience_s in ((polite, timeout_s), (firm, 5.0)):
        try:
            os.kill(pid, wanted)
        except ProcessLookupError:
            return
        if wait_until(lambda: not command_line(pid), timeout_s=patience_s):
            return
    message = f"process {pid} does not stop; end it by hand: kill -9 {pid}"
    raise EmbeddedServerError(message)


def last_lines(log: Path, count: int = 3) -> str:
    """Return the end of a server's log on one line, for an error message."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except FileNotFoundError:
        return "no log was written"
    return " | ".join(lines[-count:])


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
