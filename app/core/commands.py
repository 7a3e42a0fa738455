"""Commands on an order: what a worker carries to the broker. The command row is also the outbox row."""

from enum import StrEnum


class CommandKind(StrEnum):
    """What a command does."""

    PLACE = "PLACE"


class CommandState(StrEnum):
    """Where a command stands. A PENDING one waits for a worker; a SUBMITTING one has exactly one owner."""

    PENDING = "PENDING"
    SUBMITTING = "SUBMITTING"
    UNKNOWN = "UNKNOWN"
    DONE = "DONE"
