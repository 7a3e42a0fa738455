"""A real redis-server of a test's own: free port, temporary folder, nothing kept on disk."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from app.infra.embedded.redis import redis_server_path
from tests.harness.ports import free_port

START_TIMEOUT_S = 10.0


class RedisProcess:
    """Running from the moment it is made until `stop`; ended by its process id."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._dir = Path(tempfile.mkdtemp(prefix="sauda-redis-"))
        self._process = self._start()

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self._process.pid

    def stop(self) -> None:
        """End the server, paused or not, and remove its folder."""
        self._kill()
        shutil.rmtree(self._dir, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL the server and leave it down."""
        self._kill()

    def restart(self) -> None:
        """SIGKILL the server and start an empty one on the same port."""
        self._kill()
        self._process = self._start()

    def pause(self) -> None:
        """Freeze the server: connections stay open and nobody answers."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        self._process.send_signal(signal.SIGCONT)

    def flushall(self) -> None:
        """Empty the server."""
        if _ask(self.port, b"FLUSHALL\r\n", timeout_s=5.0) != b"+OK\r\n":
            raise RuntimeError("FLUSHALL failed")

    def _start(self) -> subprocess.Popen[bytes]:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._dir)]
        options += ["--save", "", "--appendonly", "no", "--loglevel", "warning"]
        process = subprocess.Popen(
            [str(redis_server_path()), *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise RuntimeError(f"redis-server did not start on port {self.port}")
            time.sleep(0.01)
        return process

    def _answers(self) -> bool:
        try:
            return _ask(self.port, b"PING\r\n", timeout_s=1.0) == b"+PONG\r\n"
        except OSError:
            return False

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _ask(port: int, command: bytes, *, timeout_s: float) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        connection.sendall(command)
        return connection.recv(256)
