"""Settles one account from the complete reads of its order book, and remembers from one read to the next."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from app.brokers.base import EndpointGroup, Timeouts
from app.brokers.guarded import GuardedBroker
from app.core.accounts import Account
from app.core.attribution import AbsenceEvidence, terms_at_broker
from app.core.commands import OrderTerms
from app.core.errors import BrokerUnreadable, SessionDead
from app.core.orders import OrderStatus
from app.core.ports import BrokerOrder, BrokerOrderState, BrokerSession, Clock, OrderBook
from app.core.tags import is_our_tag
from app.infra.logging import get_logger
from app.repositories.leases import Lease
from app.repositories.orders import LockedOrder
from app.repositories.settlements import Unsettled
from app.services.order_updates import Applied, OrderUpdates
from app.services.settlement import BookRead, Settlement

ARRIVAL_MARGIN_S = 2.0
"""Beyond all time-outs of a write: past them by this much, nothing of it can arrive at the broker any more."""

DETAILS_A_READ = 5
"""Orders whose details are asked for after one read of the book; the others have their turn after the next."""

PROBLEMS_AGAIN_S = 300.0
"""An order that could not be taken in is tried again after this long: its instrument may have become known."""

CHANGE_MARGIN = timedelta(seconds=5)
"""A book may be this late in showing a change that we made ourselves."""

log = get_logger(__name__)


def horizon_s(timeouts: Timeouts) -> float:
    """Return how long after a claim's `send_by` something of it may still arrive at the broker."""
    return timeouts.read_s + timeouts.unacknowledged_s + ARRIVAL_MARGIN_S


class Settler:
    """What one watch knows beyond its last read. All of it may be lost: a new watch reads again."""

    def __init__(
        self,
        account: Account,
        *,
        settlement: Settlement,
        updates: OrderUpdates,
        lease: Lease,
        clock: Clock,
        horizon_s: float,
    ) -> None:
        self._account = account
        self._settlement = settlement
        self._updates = updates
        self._lease = lease
        self._clock = clock
        self._horizon_s = horizon_s
        self._evidence = AbsenceEvidence()
        self._told_tags: dict[str, str | None] = {}
        self._details_failed: set[str] = set()
        self._tags_are_told = False
        self._own_details_are_silent = False
        self._problems: dict[str, str] = {}
        self._problems_again_at = 0.0
        self._differing: dict[UUID, tuple[OrderTerms, datetime]] = {}

    async def unsettled(self) -> Unsettled:
        """Return what waits for the books, and the database's time."""
        return await self._settlement.unsettled(self._account.id)

    async def settle(
        self, broker: GuardedBroker, session: BrokerSession, book: OrderBook, applied: Applied, before: Unsettled
    ) -> int:
        """Settle what the read allows; returns how many orders changed or were found.

        `applied` is what the book's rows have told already, `before` how things stood when the read began.
        Raises `LeaseLost` and, when a details read finds the session over, `SessionDead`.
        """
        in_book = {row.broker_order_id for row in book}
        strangers, changed = await self._with_tags(broker, session, _within(in_book, applied.unmatched))
        if before.placements or any(self._is_fresh(row) for row in strangers):
            silent = before.placements and await self._is_silent(broker, session, in_book, applied)
            changed += await self._settle_placements(book, strangers, before, silent=silent)
        else:
            await self._tell_problems(book, self._problems)
        if before.modifies:
            changed += await self._settlement.settle_modifies(
                self._account, book, self._lease, began=before.now, horizon_s=self._horizon_s
            )
        return changed + await self._adopt_terms(applied, in_book, before.now)

    def _is_fresh(self, row: BrokerOrder) -> bool:
        return row.broker_order_id not in self._problems or self._clock.monotonic() >= self._problems_again_at

    async def _is_silent(
        self, broker: GuardedBroker, session: BrokerSession, in_book: set[str], applied: Applied
    ) -> bool:
        """Whether the broker tells tags nowhere: where it does, a row without one is somebody else's.

        Orders of ours are bound by the answers to them, so nobody has asked for their details yet.
        """
        rows = [row for _, row in applied.matched] + list(applied.unmatched)
        self._tags_are_told = self._tags_are_told or any(_is_ours(row.tag) for row in rows)
        if self._tags_are_told or self._own_details_are_silent or not self._told_tags:
            return not self._tags_are_told
        for order, row in applied.matched:
            if row.broker_unique_id is None or row.broker_order_id not in in_book or not is_our_tag(order.tag):
                continue
            details = await self._details(broker, session, row.broker_unique_id)
            if details is None:
                return False  # not known: it is asked again after the next read
            self._tags_are_told = details.tag == order.tag
            self._own_details_are_silent = not self._tags_are_told
            return self._own_details_are_silent
        return True

    async def _settle_placements(
        self, book: OrderBook, strangers: list[BrokerOrder], before: Unsettled, *, silent: bool
    ) -> int:
        asked = frozenset(row.broker_order_id for row in strangers if row.broker_order_id in self._told_tags)
        read = BookRead(
            began=before.now,
            strangers=tuple(strangers),
            tagless=asked if silent else frozenset(),
            unasked=frozenset(row.broker_order_id for row in strangers if self._is_unasked(row)),
            whole=not book.strange,
        )
        settled = await self._settlement.settle(
            self._account, read, self._evidence, self._lease, horizon_s=self._horizon_s
        )
        self._problems_again_at = self._clock.monotonic() + PROBLEMS_AGAIN_S
        await self._tell_problems(book, settled.discovered.problems)
        return settled.adopted + settled.absent + settled.discovered.external + settled.discovered.orphans

    async def _with_tags(
        self, broker: GuardedBroker, session: BrokerSession, strangers: list[BrokerOrder]
    ) -> tuple[list[BrokerOrder], int]:
        """Ask for the tags that the book does not show, a few at a time; binds what carries a tag of an order of ours.

        Returns the rows that are still nobody's, with what is known of their tags, and how many orders changed.
        """
        present = {row.broker_order_id for row in strangers}
        self._told_tags = {key: tag for key, tag in self._told_tags.items() if key in present}
        self._details_failed &= present
        await self._ask_for_tags(broker, session, [row for row in strangers if self._is_unasked(row)])
        tagged = [self._tagged(row) for row in strangers]
        if not any(self._told_tags.values()):
            return tagged, 0
        applied = await self._updates.apply(self._account.id, tagged, self._lease)
        return list(applied.unmatched), applied.changed

    async def _ask_for_tags(self, broker: GuardedBroker, session: BrokerSession, rows: list[BrokerOrder]) -> None:
        # Those that could not be read have their turn after all others.
        rows = sorted(rows, key=lambda row: row.broker_order_id in self._details_failed)
        for row in rows[:DETAILS_A_READ]:
            if row.broker_unique_id is None:
                continue
            details = await self._details(broker, session, row.broker_unique_id)
            if details is None:
                self._details_failed.add(row.broker_order_id)
                return
            self._details_failed.discard(row.broker_order_id)
            self._told_tags[row.broker_order_id] = details.tag
            self._tags_are_told = self._tags_are_told or _is_ours(details.tag)

    async def _details(self, broker: GuardedBroker, session: BrokerSession, unique_id: str) -> BrokerOrder | None:
        try:
            await broker.wait_for_budget(EndpointGroup.QUOTES)
            return await broker.broker.order_details(session, unique_id)
        except SessionDead:
            raise
        except BrokerUnreadable as error:
            log.warning("settler.details_unreadable", account=self._account.name, error=str(error))
            return None

    def _is_unasked(self, row: BrokerOrder) -> bool:
        return row.tag is None and row.broker_unique_id is not None and row.broker_order_id not in self._told_tags

    def _tagged(self, row: BrokerOrder) -> BrokerOrder:
        told = self._told_tags.get(row.broker_order_id)
        return replace(row, tag=told) if row.tag is None and told is not None else row

    async def _tell_problems(self, book: OrderBook, of_strangers: dict[str, str]) -> None:
        in_book = {row.broker_order_id for row in book}
        strange = {row.broker_order_id: row.problem for row in book.strange}
        now = strange | {key: text for key, text in of_strangers.items() if key in in_book}
        opened = {key: text for key, text in now.items() if self._problems.get(key) != text}
        closed = set(self._problems) - set(now)
        if opened or closed:
            await self._settlement.tell_problems(self._account, opened=opened, closed=closed, lease=self._lease)
        self._problems = now

    async def _adopt_terms(self, applied: Applied, in_book: set[str], began: datetime) -> int:
        """Take over what somebody changed at the broker, once two reads have shown the same."""
        differing: dict[UUID, tuple[OrderTerms, datetime]] = {}
        ripe: dict[UUID, OrderTerms] = {}
        for order, row in applied.matched:
            terms = _changed_terms(order, row)
            if terms is None or row.broker_order_id not in in_book:
                continue
            before = self._differing.get(order.id)
            if before is None or before[0] != terms:
                differing[order.id] = (terms, began)
                continue
            differing[order.id] = before
            if began - before[1] >= AbsenceEvidence.READS_APART:
                ripe[order.id] = terms
        # What is refused now, because a change of ours came in between, is counted anew.
        since = min((differing.pop(order_id)[1] for order_id in ripe), default=began)
        self._differing = differing
        if not ripe:
            return 0
        return await self._settlement.adopt_terms(ripe, self._lease, unchanged_since=since - CHANGE_MARGIN)


def _is_ours(tag: str | None) -> bool:
    return tag is not None and is_our_tag(tag)


def _within(ids: set[str], rows: Iterable[BrokerOrder]) -> list[BrokerOrder]:
    return [row for row in rows if row.broker_order_id in ids]


def _changed_terms(order: LockedOrder, row: BrokerOrder) -> OrderTerms | None:
    """Return the terms that the row shows of an order that rests, where they are not ours."""
    if (
        order.status not in (OrderStatus.PLACED, OrderStatus.PARTIALLY_FILLED)
        or row.state is not BrokerOrderState.WORKING
        or order.broker_order_id != row.broker_order_id
    ):
        return None
    ours = OrderTerms(
        quantity=order.quantity, order_type=order.order_type, price=order.price, trigger_price=order.trigger_price
    )
    theirs = terms_at_broker(ours, row)
    return theirs if theirs != ours else None
