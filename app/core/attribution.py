"""Which row of a broker's book could be which of our orders, where no tag tells."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from app.core.commands import OrderTerms
from app.core.instruments import Exchange
from app.core.orders import OrderType, Product, Side
from app.core.ports import BrokerOrder

CLOCK_SKEW = timedelta(seconds=5)
"""How far a broker's clock may be behind ours, its whole seconds included."""

SHOWN_AS: dict[OrderType, frozenset[OrderType]] = {
    OrderType.MARKET: frozenset({OrderType.MARKET, OrderType.LIMIT}),
    OrderType.LIMIT: frozenset({OrderType.LIMIT}),
    OrderType.SL: frozenset({OrderType.SL, OrderType.LIMIT}),
    OrderType.SL_M: frozenset({OrderType.SL_M, OrderType.MARKET, OrderType.LIMIT}),
}
"""Brokers turn market orders into limits with a protection, and show a triggered stop as what it became."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """An order that was sent, or may have been, and of which nobody knows the broker's id.

    `claimed_at` by the wall clock, `market_time` of its admission by the market's, both in UTC; prices in rupees.
    """

    order_id: UUID
    exchange: Exchange
    trading_symbol: str | None
    token: str | None
    side: Side
    quantity: int
    order_type: OrderType
    product: Product
    price: Decimal | None
    trigger_price: Decimal | None
    claimed_at: datetime | None
    market_time: datetime
    is_unknown: bool


def could_be(order: Claimant, row: BrokerOrder) -> bool:
    """Whether nothing that the row says speaks against its being this order. What it does not say, excludes nothing."""
    return (
        on_same_side(order, row)
        and row.quantity == order.quantity
        and (row.order_type is None or row.order_type in SHOWN_AS[order.order_type])
        and row.product in (None, order.product)
        and (not order.order_type.has_limit_price or row.price in (None, order.price))
        and (not order.order_type.has_trigger or row.trigger_price in (None, order.trigger_price))
        and not _is_before(order, row)
    )


def on_same_side(order: Claimant, row: BrokerOrder) -> bool:
    """Whether both buy, or both sell, the same instrument."""
    return row.exchange is order.exchange and row.side is order.side and _is_of_instrument(order, row)


def shows_terms(terms: OrderTerms, row: BrokerOrder) -> bool:
    """Whether nothing that the row says speaks against its order having these terms."""
    return (
        row.quantity == terms.quantity
        and (row.order_type is None or row.order_type in SHOWN_AS[terms.order_type])
        and (not terms.order_type.has_limit_price or row.price in (None, terms.price))
        and (not terms.order_type.has_trigger or row.trigger_price in (None, terms.trigger_price))
    )


def terms_at_broker(terms: OrderTerms, row: BrokerOrder) -> OrderTerms:
    """Return our terms with what the row says otherwise. A row that shows another order type says nothing of prices."""
    if row.order_type not in (None, terms.order_type):
        return replace(terms, quantity=row.quantity)
    return OrderTerms(
        quantity=row.quantity,
        order_type=terms.order_type,
        price=(row.price or terms.price) if terms.order_type.has_limit_price else terms.price,
        trigger_price=(row.trigger_price or terms.trigger_price) if terms.order_type.has_trigger else None,
    )


def adoptable(
    claimants: Sequence[Claimant], rows: Sequence[BrokerOrder], *, proven_tagless: frozenset[str]
) -> list[tuple[Claimant, BrokerOrder]]:
    """Return the pairs in which the row is the order's only candidate, and the order the row's only claimant.

    `rows` are those of nobody's that carry no tag. Only those whose ids are in `proven_tagless` may be adopted (their
    details carry none either), but all of them count as candidates, as placements under way count as claimants.
    """
    pairs = []
    for order in claimants:
        candidates = [row for row in rows if could_be(order, row)]
        if not order.is_unknown or len(candidates) != 1:
            continue
        (row,) = candidates
        if row.broker_order_id in proven_tagless and sum(could_be(other, row) for other in claimants) == 1:
            pairs.append((order, row))
    return pairs


def _is_of_instrument(order: Claimant, row: BrokerOrder) -> bool:
    """Whether token or symbol are the same; the token decides where both sides have one."""
    if row.token is not None and order.token is not None:
        return row.token == order.token
    return order.trading_symbol is None or row.trading_symbol == order.trading_symbol


def _is_before(order: Claimant, row: BrokerOrder) -> bool:
    """Whether the row was last changed before the order can have been sent, whichever clock the broker's follows."""
    if row.updated_at is None:
        return False
    sent_from = order.market_time if order.claimed_at is None else min(order.claimed_at, order.market_time)
    return row.updated_at < sent_from - CLOCK_SKEW


class AbsenceEvidence:
    """Remembers in which complete reads placements were missing: one such read is no proof yet.

    A placement is told by its order and its attempt. Forgetting all of it is harmless: the count starts anew.
    """

    READS_APART = timedelta(seconds=1)

    def __init__(self) -> None:
        self._missing_since: dict[tuple[UUID, int], datetime] = {}

    def observe(self, missing: set[tuple[UUID, int]], *, began: datetime) -> set[tuple[UUID, int]]:
        """Note what a read that began then did not show; returns what an earlier one did not show either."""
        self._missing_since = {key: self._missing_since.get(key, began) for key in missing}
        return {key for key, since in self._missing_since.items() if began - since >= self.READS_APART}
