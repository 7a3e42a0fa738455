"""Ports are chosen once, remembered, and given up only for a stated reason."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.launch import ports
from scripts.launch.console import LaunchError
from tests.harness.ports import free_port

NAMES = {"api", "exchange", "postgres", "redis"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ports.json"


@pytest.fixture
def taken() -> Iterator[int]:
    """Return a port on which a stranger listens."""
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        yield stranger.getsockname()[1]


def settle(
    path: Path, environment: dict[str, str] | None = None, ours: dict[str, bool] | None = None
) -> tuple[dict[str, int], list[str]]:
    said: list[str] = []
    return ports.settle_ports(path, environment=environment or {}, ours=ours or {}, say=said.append), said


def test_a_first_start_chooses_a_different_free_port_for_each_server(path: Path) -> None:
    chosen, said = settle(path)
    assert set(chosen) == NAMES
    assert len(set(chosen.values())) == len(NAMES)
    assert all(ports.is_free(port) for port in chosen.values())
    assert said == []


def test_the_next_start_uses_the_same_ports(path: Path) -> None:
    assert settle(path)[0] == settle(path)[0]


def test_a_remembered_port_that_a_stranger_took_is_replaced_and_that_is_said(path: Path, taken: int) -> None:
    path.write_text(json.dumps({"api": taken}))
    chosen, said = settle(path)
    assert chosen["api"] != taken
    assert len(said) == 1
    assert f"port {taken} of api" in said[0]
    assert settle(path) == (chosen, [])


def test_a_port_taken_by_our_own_running_server_is_kept(path: Path, taken: int) -> None:
    path.write_text(json.dumps({"postgres": taken}))
    assert settle(path, ours={"postgres": True})[0]["postgres"] == taken


def test_a_port_of_the_environment_is_used_and_not_remembered(path: Path) -> None:
    usual = settle(path)[0]
    wanted = free_port()
    assert settle(path, {"SAUDA_API_PORT": str(wanted)})[0]["api"] == wanted
    assert settle(path)[0] == usual


def test_a_port_of_the_environment_that_is_taken_ends_the_start_with_what_to_do(path: Path, taken: int) -> None:
    with pytest.raises(LaunchError, match=rf"port {taken} \(SAUDA_API_PORT\) is in use: stop what listens there"):
        settle(path, {"SAUDA_API_PORT": str(taken)})


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1", "80.5"])
def test_a_port_of_the_environment_that_is_no_port_is_named(path: Path, text: str) -> None:
    with pytest.raises(LaunchError, match="SAUDA_EXCHANGE_PORT"):
        settle(path, {"SAUDA_EXCHANGE_PORT": text})


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"api": "x"}', "{"])
def test_a_broken_memory_is_made_afresh(path: Path, content: str) -> None:
    path.write_text(content)
    assert set(settle(path)[0]) == NAMES
    assert set(json.loads(path.read_text())) == NAMES
