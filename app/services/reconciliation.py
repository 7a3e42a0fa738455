"""Compares an account's books with its broker's. It reports, blocks and alerts; it never corrects anything."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.brokers.base import EndpointGroup
from app.brokers.guarded import GuardedBroker
from app.core.accounts import Account, AccountMode
from app.core.balances import Opening
from app.core.errors import BrokerUnreadable, SessionDead
from app.core.ports import BrokerOrderState, BrokerPosition, BrokerSession, BrokerTrade, Clock, Funds, OrderBook
from app.core.reconciliations import (
    BrokersBooks,
    Comparison,
    Difference,
    DifferenceKind,
    Line,
    OurBooks,
    Suspicions,
    Symbol,
    compare,
)
from app.repositories.leases import Lease
from app.repositories.reconciliations import OurMoment
from app.repositories.unit_of_work import UnitOfWork
from app.services.broker_pool import BrokerPool

LOOK_TIMEOUT_S = 30.0
"""How long all the reads of one look may take together; then the broker counts as unreadable."""

SETTLES_AFTER_S = 2.0
"""A difference counts when it is seen again, unchanged, this much later: fills take a moment to be recorded."""

EXPLAINED_FOR_S = 30.0
"""How long a trade that stands in the broker's book, and not yet in ours, may explain a difference."""

BOOK_LAG_S = 10.0
"""The broker's book may be this late: in listing an order that was taken, and in showing that one is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at the broker found. `suspected` differences do not count yet: look again soon.

    It says nothing of orders unless it read their book, of lines whose `symbols_in_motion` kept them from being
    compared, and of cash unless all was `quiet`. `started_at` and `finished_at` are the database's wall-clock time in
    UTC.
    """

    differences: tuple[Difference, ...]
    suspects: tuple[Difference, ...]
    with_orders: bool
    symbols_in_motion: frozenset[Symbol]
    quiet: bool
    counts: Mapping[str, int]
    started_at: datetime
    finished_at: datetime

    @property
    def suspected(self) -> int:
        """How many differences do not count yet."""
        return len(self.suspects)

    @property
    def whole(self) -> bool:
        """Whether it says something of everything."""
        return self.with_orders and self.quiet and not self.suspects

    def leaves_open(self, one: Difference) -> bool:
        """Whether a difference found before may still be there, for all that this look says."""
        if any((other.kind, other.subject) == (one.kind, one.subject) for other in self.suspects):
            return True
        match one.kind:
            case DifferenceKind.ORDER:
                return not self.with_orders
            case DifferenceKind.POSITION:
                return one.symbol in self.symbols_in_motion
            case DifferenceKind.CASH:
                return not self.quiet


class Reconciliation:
    """Compares one account, again and again: it remembers what it suspects from look to look."""

    def __init__(
        self,
        account: Account,
        *,
        uow: UnitOfWork,
        brokers: BrokerPool,
        clock: Clock,
        lease: Lease,
        settles_after_s: float = SETTLES_AFTER_S,
    ) -> None:
        self._account = account
        self._uow = uow
        self._brokers = brokers
        self._clock = clock
        self._lease = lease
        self._suspicions = Suspicions(settles_after_s=settles_after_s, explained_for_s=EXPLAINED_FOR_S)

    async def look(self, *, with_orders: bool) -> Look:
        """Read positions and cash, and the order book where wanted, and compare.

        Raises `BrokerUnreadable`, `SessionDead` (after reporting it), `LeaseLost`, and what the paper guard raises.
        """
        guarded = await self._brokers.get(self._account.id)
        session = await guarded.session()
        if session is None:
            raise BrokerUnreadable("not logged in at the broker")
        try:
            return await self._look(guarded, session, with_orders=with_orders)
        except SessionDead:
            await guarded.report_dead()
            raise

    async def _look(self, guarded: GuardedBroker, session: BrokerSession, *, with_orders: bool) -> Look:
        before = await self._ours()
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                book = OrderBook()
                missing: list[Difference] = []
                if with_orders:
                    book, missing = await self._book_and_missing(guarded, session, before)
                moment = await self._ours() if with_orders else before
                positions, funds = await _positions_and_funds(guarded, session)
                after = await self._ours()
                comparison = compare(moment.books, _brokers_books(positions, funds), after.books)
                unrecorded: set[Symbol] = set()
                if comparison.differences:
                    unrecorded = await self._unrecorded(guarded, session, book, after)
        except TimeoutError as error:
            raise BrokerUnreadable(f"reading took longer than {LOOK_TIMEOUT_S:.0f} s") from error
        seen = [*comparison.differences, *missing]
        counted, suspected = self._suspicions.confirm(seen, unrecorded=unrecorded, now=self._clock.monotonic())
        in_motion = _symbols_in_motion(moment.books, after.books)
        await self._store_reading(before, moment, after, funds, comparison, book_read=with_orders)
        return Look(
            differences=tuple(counted),
            suspects=tuple(one for one in seen if one not in counted),
            with_orders=with_orders,
            symbols_in_motion=in_motion,
            quiet=not in_motion and moment.books.cash == after.books.cash,
            counts={
                "positions": comparison.compared,
                "in_motion": comparison.skipped,
                "suspected": suspected,
                "unrecorded_trades_in": len(unrecorded),
            },
            started_at=before.at,
            finished_at=after.at,
        )

    async def _ours(self) -> OurMoment:
        async with self._uow.statement() as tx:
            return await tx.reconciliations.our_books(
                self._account.id, broker=self._account.broker, mode=self._account.mode
            )

    async def _book_and_missing(
        self, guarded: GuardedBroker, session: BrokerSession, before: OurMoment
    ) -> tuple[OrderBook, list[Difference]]:
        """Return the order book, and the orders that are open on one side alone.

        Those that were open here before and after the reading are not listed; those that rest there were over here
        well before.
        """
        first = await self._open_orders(before)
        await guarded.wait_for_budget(EndpointGroup.BOOKS)
        book = await guarded.broker.order_book(session)
        listed = {row.broker_order_id for row in book} | {row.broker_order_id for row in book.strange}
        differences = await self._over_here_alone(book, before)
        if first.keys() <= listed:
            return book, differences
        still = await self._open_orders(before)
        return book, differences + [
            Difference(kind=DifferenceKind.ORDER, subject=f"order {still[broker_id]}", ours="open", theirs="not listed")
            for broker_id in sorted(first.keys() & still.keys() - listed)
        ]

    async def _over_here_alone(self, book: OrderBook, before: OurMoment) -> list[Difference]:
        working = [row.broker_order_id for row in book if row.state is BrokerOrderState.WORKING]
        if not working:
            return []
        async with self._uow.statement() as tx:
            over = await tx.reconciliations.over_here(self._account.id, working, at=before.at, age_s=BOOK_LAG_S)
        return [
            Difference(kind=DifferenceKind.ORDER, subject=f"order {order_id}", ours=status, theirs="open")
            for order_id, status in over
        ]

    async def _open_orders(self, moment: OurMoment) -> dict[str, UUID]:
        if moment.trading_day is None:
            return {}
        async with self._uow.statement() as tx:
            return await tx.reconciliations.open_at_broker(self._account.id, day=moment.trading_day, age_s=BOOK_LAG_S)

    async def _unrecorded(
        self, guarded: GuardedBroker, session: BrokerSession, book: OrderBook, moment: OurMoment
    ) -> set[Symbol]:
        """Return the symbols of which the broker's books tell of trades that ours do not have yet.

        Both books are asked: where the trade book lags, the order book shows more filled than we know of.
        """
        if moment.trading_day is None:
            return set()
        await guarded.wait_for_budget(EndpointGroup.BOOKS)
        trades = await guarded.broker.trade_book(session)
        filled = {row.broker_order_id: row for row in book if row.filled_quantity}
        async with self._uow.statement() as tx:
            known = await tx.reconciliations.known_trades(self._account.id, day=moment.trading_day)
            orders = await tx.orders.peek_by_broker_id(self._account.id, list(filled))
        ours = {order.broker_order_id: order.filled_quantity for order in orders}
        return {Symbol(trade.exchange, trade.trading_symbol) for trade in trades if _trade_key(trade) not in known} | {
            Symbol(row.exchange, row.trading_symbol)
            for broker_id, row in filled.items()
            if row.filled_quantity > ours.get(broker_id, 0)
        }

    async def _store_reading(
        self,
        first: OurMoment,
        before: OurMoment,
        after: OurMoment,
        funds: Funds,
        comparison: Comparison,
        *,
        book_read: bool,
    ) -> None:
        quiet = comparison.skipped == 0 and not before.books.moving | after.books.moving
        opens = after.books.cash is None and self._account.mode is AccountMode.LIVE
        async with self._uow.fenced(self._lease) as tx:
            if opens and quiet and before.totals == after.totals:
                await tx.balances.open(self._account.id, Opening(cash=funds.net, flow_before=after.totals.flow))
            await tx.balances.set_broker_cash(self._account.id, funds.net)
            # A day that changed while the book was read is neither's.
            if book_read and first.trading_day is not None and first.trading_day == after.trading_day:
                await tx.reconciliations.note_book_read(self._account.id, day=first.trading_day, read_at=first.at)


async def _positions_and_funds(guarded: GuardedBroker, session: BrokerSession) -> tuple[list[BrokerPosition], Funds]:
    await guarded.wait_for_budget(EndpointGroup.BOOKS)
    positions = await guarded.broker.positions(session)
    await guarded.wait_for_budget(EndpointGroup.FUNDS)
    return positions, await guarded.broker.funds(session)


def _brokers_books(positions: Collection[BrokerPosition], funds: Funds) -> BrokersBooks:
    quantities: dict[Line, int] = {}
    for row in positions:
        line = Line(Symbol(row.exchange, row.trading_symbol), row.product)
        quantities[line] = quantities.get(line, 0) + row.net_quantity
    return BrokersBooks(quantities=quantities, cash=funds.net)


def _symbols_in_motion(before: OurBooks, after: OurBooks) -> frozenset[Symbol]:
    changed = {
        line.symbol
        for line in before.holdings.keys() | after.holdings.keys()
        if before.holdings.get(line) != after.holdings.get(line)
    }
    return before.moving | after.moving | changed


def _trade_key(trade: BrokerTrade) -> tuple[str, str, str]:
    return (trade.exchange.value, trade.broker_order_id, trade.trade_id)
