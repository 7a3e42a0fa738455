"""What people see, and the one kind of error that ends a start."""

import sys
from dataclasses import dataclass


class LaunchError(Exception):
    """A step failed. The message is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class Console:
    """Lines for people: on stdout, or on stderr when stdout belongs to a program."""

    quiet_stdout: bool

    def say(self, text: str) -> None:
        """Print one line at once."""
        print(text, file=sys.stderr if self.quiet_stdout else sys.stdout, flush=True)
