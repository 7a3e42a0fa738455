"""Ports of this checkout: chosen free once and remembered, so that two checkouts side by side do not collide."""

import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from scripts.launch.console import LaunchError

FIRST_CHOICE = {"api": 8000, "exchange": 8010, "postgres": 15432, "redis": 16379}
"""All below the range from which systems take the ports of outgoing connections."""

CHOICES_MAX = 500


def is_free(port: int) -> bool:
    """Whether nobody listens on the loopback port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections linger and do no harm
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def settle_ports(
    path: Path,
    *,
    environment: Mapping[str, str],
    ours: Mapping[str, bool],
    say: Callable[[str], None],
) -> dict[str, int]:
    """Return a port for each server, and remember them.

    Args:
        path: Where the ports are remembered.
        environment: `SAUDA_API_PORT` and `SAUDA_EXCHANGE_PORT` are binding where set, and not remembered.
        ours: Servers of ours that run already: their remembered port is taken by themselves.
        say: Told when a remembered port had to be given up.

    Raises:
        LaunchError: a port that the user set is taken or no port, or none is free.
    """
    remembered = _read(path)
    settled: dict[str, int] = {}
    for name, first in FIRST_CHOICE.items():
        variable = f"SAUDA_{name.upper()}_PORT"
        if name in {"api", "exchange"} and environment.get(variable):
            settled[name] = _wanted(variable, environment[variable])
            continue
        port = remembered.get(name)
        if port is None or not (ours.get(name, False) or is_free(port)) or port in settled.values():
            fresh = _next_free(first, taken=set(settled.values()) | set(remembered.values()))
            if port is not None:
                say(f"port {port} of {name} is in use by another program: using {fresh} from now on")
            port = fresh
        settled[name] = port
        remembered[name] = port
    path.write_text(json.dumps(remembered) + "\n")
    return settled


def _wanted(variable: str, text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 2**16:
        message = f"{variable}={text} is not a port: set a number from 1 to 65535"
        raise LaunchError(message)
    if not is_free(int(text)):
        message = f"port {text} ({variable}) is in use: stop what listens there, or set {variable} to another port"
        raise LaunchError(message)
    return int(text)


def _next_free(first: int, *, taken: set[int]) -> int:
    for port in range(first, first + CHOICES_MAX):
        if port not in taken and is_free(port):
            return port
    message = f"no free port from {first} to {first + CHOICES_MAX - 1}: close some programs"
    raise LaunchError(message)


def _read(path: Path) -> dict[str, int]:
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return {name: port for name, port in found.items() if isinstance(port, int)} if isinstance(found, dict) else {}
