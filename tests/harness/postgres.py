"""A real PostgreSQL for tests: a folder of its own, a free port, gone at the end."""

import asyncio
import os
import shutil
import signal
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil

from app.infra.embedded.postgres import DATABASE, EmbeddedPostgres
from tests.harness.ports import free_port


class PostgresProcess:
    """One server process, started at once. `durable` switches fsync on, for benchmarks and crash tests."""

    def __init__(self, *, durable: bool = False) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="sauda-pg-"))
        self._folder.chmod(0o711)  # as root the server runs as another user, who must pass through
        self.port = free_port()
        self.server = EmbeddedPostgres(
            self._folder / "postgres", self.port, durable=durable, refuge_root=self._folder / "refuge"
        )
        self._paused: list[int] = []
        self.url = self.server.start()

    def url_for(self, database: str) -> str:
        """Return the SQLAlchemy URL of a database of this server."""
        return self.url.removesuffix(DATABASE) + database

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Create a database, as a copy of another where one is named, and return its SQLAlchemy URL."""
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return self.url_for(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, closing the connections that tests left open."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, statement: str, database: str = DATABASE) -> None:
        """Run one statement outside of any transaction. Usable with and without a running event loop."""

        async def run() -> None:
            connection = await asyncpg.connect(self.url_for(database).replace("+asyncpg", ""))
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        with ThreadPoolExecutor(1) as thread:
            thread.submit(lambda: asyncio.run(run())).result()

    def restart(self, *, immediate: bool = True) -> None:
        """Stop the server and start it on the same port; immediate means without an orderly shutdown."""
        self.resume()
        self.server.stop(immediate=immediate)
        self.server.start()

    def kill(self) -> None:
        """SIGKILL the server and every one of its processes."""
        pids = self._pids()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=10)

    def pause(self) -> None:
        """Freeze the server with SIGSTOP: connections stay open and nobody answers."""
        self._paused = self._pids()
        for pid in self._paused:
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Thaw a frozen server; nothing happens when it is not frozen."""
        for pid in reversed(self._paused):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._paused = []

    def stop(self) -> None:
        """Stop the server and remove its files."""
        self.resume()
        self.server.stop(immediate=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _pids(self) -> list[int]:
        pid = self.server.pid
        if pid is None:
            return []
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
