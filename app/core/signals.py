"""What a strategy says: enter or exit, and why."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from app.core.orders import Side


class SignalKind(StrEnum):
    """Why an order is wanted. All but ENTRY reduce a position."""

    ENTRY = "ENTRY"
    EXIT = "EXIT"
    STOP = "STOP"
    SQUARE_OFF = "SQUARE_OFF"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One decision of a strategy at a market time, with the numbers that led to it."""

    instrument_id: UUID
    at: datetime
    kind: SignalKind
    side: Side
    quantity: int
    reason: str
    trace: dict[str, Decimal]
