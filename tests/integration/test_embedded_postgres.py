"""The embedded PostgreSQL: private, durable, startable again whatever happened to it, and safe to run as root."""

import asyncio
import os
import signal
import socket
import stat
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from app.infra.embedded.postgres import EmbeddedPostgres
from app.infra.embedded.processes import EmbeddedServerError, command_line, wait_until
from app.infra.embedded.server_user import ServerUser
from tests.harness.ports import free_port

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what is proved concerns starts by root")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder with a space in its name that every user can pass through; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="sauda pg ") as name:
        path = Path(name)
        path.chmod(0o711)
        yield path


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    """Return a server that is not started yet."""
    postgres = EmbeddedPostgres(folder / "postgres", free_port(), durable=False, refuge_root=folder / "refuge")
    yield postgres
    postgres.stop(immediate=True)


def ask(url: str, statement: str) -> object:
    """Return the first value of a statement's answer."""

    async def run() -> object:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(run())


def test_a_first_start_gives_an_empty_database_of_our_own_in_utf8(server: EmbeddedPostgres) -> None:
    url = server.start()
    assert (
        ask(
            url,
            "select current_database() || ' ' || pg_encoding_to_char(encoding) from pg_database "
            "where datname = current_database()",
        )
        == "sauda UTF8"
    )
    assert ask(url, "select count(*) from information_schema.tables where table_schema = 'public'") == 0


def test_a_second_start_leaves_the_running_server_alone(server: EmbeddedPostgres) -> None:
    first, pid = server.start(), server.pid
    assert server.start() == first
    assert server.pid == pid


def test_what_was_committed_survives_sigkill_of_the_whole_server(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "postgres", free_port(), refuge_root=folder / "refuge")
    try:
        url = server.start()
        assert ask(url, "show fsync") == "on"
        ask(url, "create table kept as select 7 as number")
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: not command_line(pid), timeout_s=10)
        assert server.pid is None
        assert ask(server.start(), "select number from kept") == 7
    finally:
        server.stop()


def test_a_pid_file_whose_number_belongs_to_a_stranger_does_not_stop_a_start(server: EmbeddedPostgres) -> None:
    server.start()
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not command_line(pid), timeout_s=10)
    pid_file = server.home.cluster / "postmaster.pid"
    lines = pid_file.read_text().split("\n")
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))

    assert server.pid is None
    assert ask(server.start(), "select 1") == 1


def test_a_stopped_server_starts_again_on_another_port_with_its_data(folder: Path, server: EmbeddedPostgres) -> None:
    ask(server.start(), "create table kept as select 7 as number")
    moved = EmbeddedPostgres(folder / "postgres", free_port(), durable=False, refuge_root=folder / "refuge")
    url = moved.start()
    assert ask(url, "select number from kept") == 7
    assert server.pid == moved.pid


def test_stopping_what_does_not_run_is_nothing(server: EmbeddedPostgres) -> None:
    server.stop()
    server.start()
    server.stop()
    server.stop()
    assert server.pid is None


def test_only_the_password_opens_it_and_only_its_owner_can_read_that(server: EmbeddedPostgres) -> None:
    url = server.start()
    password = server.home.cluster.with_name("password")
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.home.cluster.stat().st_mode) == 0o700
    with pytest.raises(asyncpg.InvalidPasswordError):
        ask(url.replace(password.read_text(), "wrong"), "select 1")


def test_it_listens_on_loopback_tcp_alone(server: EmbeddedPostgres) -> None:
    url = server.start()
    assert ask(url, "show listen_addresses") == "127.0.0.1"
    assert ask(url, "show unix_socket_directories") == ""


def test_a_taken_port_is_one_line_that_names_the_port_and_the_log(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = EmbeddedPostgres(folder / "postgres", port, durable=False, refuge_root=folder / "refuge")
        with pytest.raises(EmbeddedServerError, match=rf"port {port}: .*log: .*postgres\.log") as caught:
            server.start()
        assert "\n" not in str(caught.value)


@as_root
def test_as_root_it_runs_as_somebody_else(server: EmbeddedPostgres) -> None:
    server.start()
    assert Path(f"/proc/{server.pid}").stat().st_uid != 0
    assert server.home.note is None


@as_root
def test_under_a_closed_folder_it_lives_elsewhere_says_so_and_opens_nothing(folder: Path) -> None:
    closed = folder / "home"
    closed.mkdir(mode=0o700)
    server = EmbeddedPostgres(closed / "data" / "postgres", free_port(), durable=False, refuge_root=folder / "refuge")
    try:
        ask(server.start(), "create table kept as select 7 as number")
        assert server.home.note is not None
        assert str(folder / "refuge") in server.home.note
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        server.stop()
        assert ask(server.start(), "select number from kept") == 7
    finally:
        server.stop(immediate=True)


@as_root
def test_an_ordinary_user_runs_it_as_itself(folder: Path) -> None:
    own = folder / "own"
    own.mkdir()
    os.chown(own, 65534, 65534)

    def start_and_stop() -> None:
        server = EmbeddedPostgres(own / "data" / "postgres", free_port(), durable=False, refuge_root=own / "refuge")
        try:
            assert ask(server.start(), "select 1") == 1
            assert Path(f"/proc/{server.pid}").stat().st_uid == 65534
            assert server.home.cluster == own / "data" / "postgres" / "cluster"
        finally:
            server.stop(immediate=True)

    user = ServerUser(name="nobody", uid=65534, gid=65534, other=True)
    server = EmbeddedPostgres(folder / "probe", free_port(), refuge_root=folder / "refuge")
    if not user.can(["test", "-x", str(server.home.bin_dir)]):
        pytest.skip("the programs lie under a folder that is closed to ordinary users")
    assert run_as(65534, start_and_stop) == 0


def run_as(uid: int, work: Callable[[], None]) -> int:
    """Do the work in a child process of another user and return its exit code.

    A fork, not a new interpreter: that user may not be able to reach this one's files.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads; the child only does the work
        child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.environ["HOME"] = "/"
            work()
            code = 0
        except BaseException:  # noqa: BLE001  the child must never return into the test run
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
