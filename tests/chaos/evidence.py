"""The evidence of a run: our books, and the exchange's own ledger, in the same words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from app.core.orders import OrderStatus, Side


class Held(NamedTuple):
    """What a position is counted by: the account by name, the instrument by the broker's token."""

    account: str
    token: str
    product: str


class Trade(NamedTuple):
    """One trade; its fees and price in rupees."""

    account: str
    broker_order_id: str
    trade_id: str
    quantity: int
    price: Decimal
    fees: Decimal


class Terms(NamedTuple):
    """What an order may trade at most, and at which prices; zero where its type has none."""

    order_type: str
    quantity: int
    price: Decimal
    trigger_price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class OurOrder:
    """One order in our books. `unsent`: we said that it never went to the broker."""

    id: UUID
    tag: str
    held: Held
    side: Side
    terms: Terms
    status: OrderStatus
    reason: str | None
    broker_order_id: str | None
    filled: int
    is_ours: bool = True
    unsent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerOrder:
    """One order that reached the exchange; its tag is known here in every mode."""

    order_id: str
    tag: str
    held: Held
    side: Side
    terms: Terms
    filled: int
    status: str
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that is compared.

    `accepted` holds the tags of the answered intents, `cancelled` the ids of orders whose cancel was taken,
    `positions` net units, cash rupees by account.
    """

    tag_mode: str
    accepted: Sequence[str]
    cancelled: frozenset[UUID]
    ours: Sequence[OurOrder]
    ledger: Sequence[LedgerOrder]
    our_trades: Sequence[Trade]
    ledger_trades: Sequence[Trade]
    positions: Mapping[Held, int]
    cash: Mapping[str, Decimal]
    ledger_cash: Mapping[str, Decimal]
