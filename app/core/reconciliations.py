"""Reconciliations: our books beside the broker's, and what was found."""

from enum import StrEnum


class ReconciliationCause(StrEnum):
    """Why the books were compared."""

    START = "START"
    PERIODIC = "PERIODIC"
    DAY_END = "DAY_END"
    REQUEST = "REQUEST"


class ReconciliationVerdict(StrEnum):
    """What a comparison found. UNREADABLE: the broker's books could not be read, which says nothing about them."""

    MATCH = "MATCH"
    MISMATCH = "MISMATCH"
    UNREADABLE = "UNREADABLE"
