"""Broker accounts: what they are and how they stand."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class AccountMode(StrEnum):
    """PAPER trades on the paper exchange, LIVE with real money. Fixed when the account is made."""

    PAPER = "PAPER"
    LIVE = "LIVE"


class AccountStatus(StrEnum):
    """Whether an account takes orders."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"


class BlockReason(StrEnum):
    """Why an account takes no new entries at present. Each is set and lifted by one duty, or by a person."""

    ORPHAN = "ORPHAN"
    MISMATCH = "MISMATCH"
    UNREADABLE = "UNREADABLE"


class SessionState(StrEnum):
    """Whether an account is logged in at its broker. BROKEN: the broker refuses the login itself."""

    LOGGED_OUT = "LOGGED_OUT"
    LOGGED_IN = "LOGGED_IN"
    EXPIRED = "EXPIRED"
    BROKEN = "BROKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A broker account without its secrets.

    `orders_per_second` to `orders_per_hour` are its budget for broker writes; None where there is no such limit.
    """

    id: UUID
    name: str
    broker: str
    mode: AccountMode
    status: AccountStatus
    client_code: str
    market_source: str
    orders_per_second: int
    orders_per_minute: int | None = None
    orders_per_hour: int | None = None
