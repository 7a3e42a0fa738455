"""Launches one role, or hands over to the command line."""

import importlib
import sys

from app.bootstrap.roles import ROLES, run_role


def main() -> None:
    """Run what the command line asks for. A role starts without loading the commands of administration."""
    if len(sys.argv) == 2 and sys.argv[1] in ROLES:  # noqa: PLR2004  the program and its one word
        run_role(sys.argv[1])
    else:
        importlib.import_module("app.commands.cli").cli()
