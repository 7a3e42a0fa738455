"""Commands on an order: what a worker carries to the broker. The command row is also the outbox row."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from app.core.orders import OrderType


class CommandKind(StrEnum):
    """What a command does to its order."""

    PLACE = "PLACE"
    MODIFY = "MODIFY"
    CANCEL = "CANCEL"


class CommandState(StrEnum):
    """Where a command stands.

    A PENDING one waits for a worker, a SUBMITTING one has exactly one owner, of an UNKNOWN one nobody knows whether
    the broker carried it out. HELD: a cancel that waits until it is known whether its order is at the broker.
    PARKED: a dead letter that only a person requeues or closes.
    """

    PENDING = "PENDING"
    SUBMITTING = "SUBMITTING"
    UNKNOWN = "UNKNOWN"
    HELD = "HELD"
    PARKED = "PARKED"
    DONE = "DONE"


OPEN_STATES = frozenset(CommandState) - {CommandState.DONE}


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTerms:
    """What a MODIFY may change, always stated whole: what is not changed keeps the order's own value.

    Prices in rupees; `quantity` is the order's new total in units.
    """

    quantity: int
    order_type: OrderType
    price: Decimal | None
    trigger_price: Decimal | None
