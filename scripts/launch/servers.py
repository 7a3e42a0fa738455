"""PostgreSQL and Redis: the project's own, unless the environment names others."""

from collections.abc import Callable, Mapping
from pathlib import Path

from app.infra.embedded.postgres import EmbeddedPostgres
from app.infra.embedded.redis import EmbeddedRedis


class Servers:
    """The embedded servers of one checkout. A server that the environment names is neither started nor stopped."""

    def __init__(self, data_dir: Path, environment: Mapping[str, str]) -> None:
        """Describe the servers; nothing starts before `start`."""
        self._data_dir = data_dir
        self._given = {
            name: environment[name] for name in ("SAUDA_DATABASE_URL", "SAUDA_REDIS_URL") if environment.get(name)
        }

    def running(self) -> dict[str, bool]:
        """Return which embedded servers run already, left over from a start that was killed."""
        running = {"redis": self._redis(0).pid is not None}
        if (self._data_dir / "postgres").exists():
            running["postgres"] = self._postgres(0).pid is not None
        return running

    def start(self, ports: Mapping[str, int], say: Callable[[str], None]) -> dict[str, str]:
        """Start what is not given, and return the settings that point at all of it.

        Raises:
            EmbeddedServerError: a server cannot be started.
        """
        found = dict(self._given)
        if "SAUDA_DATABASE_URL" not in found:
            postgres = self._postgres(ports["postgres"])
            if postgres.home.note:
                say(postgres.home.note)
            found["SAUDA_DATABASE_URL"] = postgres.start()
            say(f"PostgreSQL on port {ports['postgres']}")
        if "SAUDA_REDIS_URL" not in found:
            found["SAUDA_REDIS_URL"] = self._redis(ports["redis"]).start()
            say(f"Redis on port {ports['redis']}")
        return found

    def stop(self) -> None:
        """Stop what `start` starts; nothing happens where it does not run.

        Raises:
            EmbeddedServerError: a server cannot be ended.
        """
        if "SAUDA_REDIS_URL" not in self._given:
            self._redis(0).stop()
        if "SAUDA_DATABASE_URL" not in self._given and (self._data_dir / "postgres").exists():
            self._postgres(0).stop()

    def _postgres(self, port: int) -> EmbeddedPostgres:
        return EmbeddedPostgres(self._data_dir / "postgres", port)

    def _redis(self, port: int) -> EmbeddedRedis:
        return EmbeddedRedis(self._data_dir / "redis", port)
