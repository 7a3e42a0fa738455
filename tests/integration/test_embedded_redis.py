"""The embedded Redis: private, forgetful on purpose, startable again whatever happened to it."""

import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from app.infra.embedded.processes import EmbeddedServerError, command_line, wait_until
from app.infra.embedded.redis import EmbeddedRedis
from tests.harness.ports import free_port


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """Return a server in a folder with awkward characters in its name, not started yet."""
    embedded = EmbeddedRedis(tmp_path / 'a "b" c' / "redis", free_port())
    yield embedded
    embedded.stop()


def setting(url: str, name: str) -> object:
    """Return one setting of a running server."""
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return client.config_get(name)[name]


def test_it_keeps_nothing_on_disk_and_never_evicts(server: EmbeddedRedis) -> None:
    url = server.start()
    assert setting(url, "save") == ""
    assert setting(url, "appendonly") == "no"
    assert setting(url, "maxmemory-policy") == "noeviction"


def test_a_second_start_leaves_the_running_server_alone(server: EmbeddedRedis) -> None:
    first, pid = server.start(), server.pid
    assert server.start() == first
    assert server.pid == pid


def test_it_starts_again_after_sigkill(server: EmbeddedRedis) -> None:
    server.start()
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not command_line(pid), timeout_s=10)
    assert server.pid is None
    with redis.Redis.from_url(server.start()) as client:
        assert client.ping()


def test_it_is_on_loopback_behind_a_password_that_only_its_owner_can_read(
    server: EmbeddedRedis, tmp_path: Path
) -> None:
    url = server.start()
    assert setting(url, "bind") == "127.0.0.1"
    for name in ("password", "redis.conf"):
        assert stat.S_IMODE((tmp_path / 'a "b" c' / "redis" / name).stat().st_mode) == 0o600
    with redis.Redis.from_url("redis://" + url.partition("@")[2]) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_another_port_moves_the_running_server(server: EmbeddedRedis, tmp_path: Path) -> None:
    server.start()
    first = server.pid
    moved = EmbeddedRedis(tmp_path / 'a "b" c' / "redis", free_port())
    with redis.Redis.from_url(moved.start()) as client:
        assert client.ping()
    assert server.pid != first


def test_stopping_what_does_not_run_is_nothing(server: EmbeddedRedis) -> None:
    server.stop()
    server.start()
    server.stop()
    server.stop()
    assert server.pid is None


def test_a_taken_port_is_one_line_that_names_the_port_and_the_log(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = EmbeddedRedis(tmp_path, port)
        with pytest.raises(EmbeddedServerError, match=rf"port {port}: .*log: .*redis\.log") as caught:
            server.start()
        assert "\n" not in str(caught.value)
