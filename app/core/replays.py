"""Replays of a past market day."""

from enum import StrEnum


class ReplayState(StrEnum):
    """How far a requested replay has come."""

    REQUESTED = "REQUESTED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
