"""Alerts: what a person should look at. One open alert a kind and subject, however often it is seen."""

from enum import StrEnum


class Severity(StrEnum):
    """How soon somebody should look."""

    INFO = "INFO"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"


class AlertKind(StrEnum):
    """What can be wrong. Each kind is opened and closed by one duty."""

    ORDER_UNKNOWN = "ORDER_UNKNOWN"
    ORDER_OVERFILLED = "ORDER_OVERFILLED"
    STATUS_UNRECOGNISED = "STATUS_UNRECOGNISED"
    ROW_UNREADABLE = "ROW_UNREADABLE"
    ORPHAN_ORDER = "ORPHAN_ORDER"
    EXTERNAL_ORDER = "EXTERNAL_ORDER"
    COMMAND_PARKED = "COMMAND_PARKED"
    EXIT_WAITING = "EXIT_WAITING"
    BREAKER_OPEN = "BREAKER_OPEN"
    LOGIN_FAILING = "LOGIN_FAILING"
    SESSION_BROKEN = "SESSION_BROKEN"
    BROKER_UNREADABLE = "BROKER_UNREADABLE"
    POSITION_MISMATCH = "POSITION_MISMATCH"
    CASH_MISMATCH = "CASH_MISMATCH"
    ORDER_MISMATCH = "ORDER_MISMATCH"
    DAY_NOT_CLOSED = "DAY_NOT_CLOSED"
