"""The checkout's own secrets: made once, kept in a file that only its owner can read."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from app.infra.embedded.processes import write_private
from scripts.launch.console import LaunchError

NAMES = ("SAUDA_SECRET_KEY", "SAUDA_EXCHANGE_CONTROL_KEY")


def load_keys(path: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets, made and saved where they are missing; what the environment sets wins and is not saved.

    Raises:
        LaunchError: the file belongs to somebody else or cannot be read.
    """
    saved = _read(path)
    missing = [name for name in NAMES if name not in saved]
    if missing:
        saved |= {name: secrets.token_urlsafe(48) for name in missing}
        write_private(path, "".join(f"{name}={value}\n" for name, value in saved.items()))
    return {name: environment.get(name) or saved[name] for name in NAMES}


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    if not os.access(path, os.R_OK | os.W_OK):
        message = f"{path} belongs to another user: run as that user, or move the data folder away to start afresh"
        raise LaunchError(message)
    lines = (line.partition("=") for line in path.read_text().splitlines() if not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in lines if value.strip()}
