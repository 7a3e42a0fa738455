"""Settling one account's orders against a complete read of its broker's order book.

Found: a row that is nobody's, carries no tag anywhere and fits one UNKNOWN order alone, is that order. Absent: an
UNKNOWN order that complete reads, begun when nothing of it could still arrive, do not show waits to be sent again.
What is left of the book is stored: EXTERNAL where it is somebody else's, ORPHAN where it carries a tag of ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from app.core.accounts import Account
from app.core.attribution import AbsenceEvidence, adoptable, could_be, shows_terms
from app.core.commands import OrderTerms
from app.core.orders import OrderStatus
from app.core.ports import BrokerOrder, Doorbell, Ring
from app.core.tags import is_our_tag
from app.infra.logging import get_logger
from app.infra.metrics import UNKNOWN_SETTLED
from app.repositories.leases import Lease
from app.repositories.settlements import Placement, Unsettled
from app.repositories.unit_of_work import Transaction, UnitOfWork
from app.services.discoveries import Discovered, Discoveries
from app.services.order_updates import changes_by

ABSENT = "complete reads of the broker's book, begun when nothing could arrive any more, do not show it"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BookRead:
    """A complete read that began at `began` by the database's clock.

    `strangers` are its rows of none of our orders, with the tags that their details told. Those in `tagless` carry
    none anywhere, those in `unasked` may turn out to. `whole`: it had no row that we could not understand.
    """

    began: datetime
    strangers: tuple[BrokerOrder, ...]
    tagless: frozenset[str] = frozenset()
    unasked: frozenset[str] = frozenset()
    whole: bool = True


@dataclass(slots=True, kw_only=True)
class Settled:
    """What a read settled: how many orders were adopted and proven absent, and what was found of others."""

    adopted: int = 0
    absent: int = 0
    discovered: Discovered = field(default_factory=Discovered)
    rings: list[Ring] = field(default_factory=list)


class Settlement:
    """Settles accounts.

    `horizon_s` stands for the time after its `send_by` past which nothing of a claim can arrive at the broker any more.
    """

    def __init__(self, *, uow: UnitOfWork, doorbell: Doorbell) -> None:
        self._uow = uow
        self._doorbell = doorbell
        self._discoveries = Discoveries()

    async def unsettled(self, account_id: UUID) -> Unsettled:
        """Return what of the account waits for its broker's books, and the time by the database's clock."""
        async with self._uow.statement() as tx:
            return await tx.settlements.unsettled(account_id)

    async def settle(
        self, account: Account, read: BookRead, evidence: AbsenceEvidence, lease: Lease, *, horizon_s: float
    ) -> Settled:
        """Settle what a read allows to settle. Raises `LeaseLost` when another keeper leads."""
        settled = Settled()
        async with self._uow.fenced(lease) as tx:
            await tx.settlements.lock_account(account.id)
            # In this order: an order that its worker binds in between is seen as under way, or as bound.
            placements = await tx.settlements.placements(account.id)
            bound = await tx.settlements.bound(account.id, [row.broker_order_id for row in read.strangers])
            strangers = [row for row in read.strangers if row.broker_order_id not in bound]
            adopted = await self._adopt(tx, account, read, placements, strangers)
            settled.adopted = len(adopted)
            rest = [row for row in strangers if row.broker_order_id not in adopted]
            waiting = [one for one in placements if one.claimant.order_id not in adopted.values()]
            settled.discovered = await self._discoveries.store(
                tx,
                account,
                [row for row in rest if row.broker_order_id not in read.unasked or _is_ours(row)],
                waiting=[one.claimant for one in waiting],
            )
            missing = {
                (one.claimant.order_id, one.attempt): one
                for one in waiting
                if _is_missing(one, read, rest, timedelta(seconds=horizon_s))
            }
            for key in evidence.observe(set(missing), began=read.began):
                await self._prove_absent(tx, missing[key], settled)
        UNKNOWN_SETTLED.labels("adopted").inc(settled.adopted)
        UNKNOWN_SETTLED.labels("absent").inc(settled.absent)
        if settled.rings:
            await self._doorbell.ring(settled.rings)
        return settled

    async def _adopt(
        self,
        tx: Transaction,
        account: Account,
        read: BookRead,
        placements: list[Placement],
        strangers: list[BrokerOrder],
    ) -> dict[str, UUID]:
        """Bind rows that can be nobody else's; returns the orders by their broker order ids."""
        untagged = [row for row in strangers if row.tag is None]
        pairs = adoptable([one.claimant for one in placements], untagged, proven_tagless=read.tagless)
        # A read that began before an order was claimed cannot have found it, however well a row of it fits.
        rows = {order.order_id: row for order, row in pairs if _is_past(order.claimed_at, read.began, timedelta())}
        if not rows:
            return {}
        adopted = {}
        for order in await tx.orders.lock_by_id(account.id, list(rows)):
            if order.status is not OrderStatus.UNKNOWN or order.broker_order_id is not None:
                continue
            row = rows[order.id]
            await tx.orders.apply(changes_by(row, order, found="the only row that could be it, and it alone the row's"))
            adopted[row.broker_order_id] = order.id
            log.warning("settlement.adopted", order_id=str(order.id), broker_order_id=row.broker_order_id)
        return adopted

    async def _prove_absent(self, tx: Transaction, placement: Placement, settled: Settled) -> None:
        order_id = placement.claimant.order_id
        ring = await tx.settlements.prove_absent(order_id, attempt=placement.attempt, reason=ABSENT)
        if ring is None:
            return
        settled.absent += 1
        if placement.cancel_wanted:
            await tx.commands.release_held([order_id])
        else:
            settled.rings.append(ring)
        log.warning("settlement.absent", order_id=str(order_id), attempt=placement.attempt)

    async def settle_modifies(
        self, account: Account, rows: Sequence[BrokerOrder], lease: Lease, *, began: datetime, horizon_s: float
    ) -> int:
        """Confirm or deny changes that nobody knows the end of, by the terms that the book shows."""
        by_id = {row.broker_order_id: row for row in rows}
        settled = 0
        async with self._uow.fenced(lease) as tx:
            for change in await tx.settlements.unknown_modifies(account.id):
                row = by_id.get(change.broker_order_id)
                if row is None:
                    continue
                made, not_made = shows_terms(change.wanted, row), shows_terms(change.present, row)
                if made and not not_made:
                    settled += await tx.commands.confirm_modify(change.command_id)
                elif _is_past(change.send_by, began, timedelta(seconds=horizon_s)):
                    # Whatever stands there instead is taken over like any other change of somebody else's.
                    settled += await tx.commands.deny_modify(change.command_id)
        return settled

    async def adopt_terms(self, changed: dict[UUID, OrderTerms], lease: Lease, *, unchanged_since: datetime) -> int:
        """Take over terms that somebody changed at the broker, where no change of ours is open or came in since."""
        adopted = 0
        async with self._uow.fenced(lease) as tx:
            for order_id, terms in sorted(changed.items()):
                if await tx.settlements.adopt_terms(order_id, terms, unchanged_since=unchanged_since):
                    adopted += 1
                    log.warning("settlement.terms_changed_at_broker", order_id=str(order_id))
        return adopted

    async def tell_problems(self, account: Account, *, opened: dict[str, str], closed: set[str], lease: Lease) -> None:
        """Open an alert for each broker order that cannot be understood, and close those of the ones that can."""
        async with self._uow.fenced(lease) as tx:
            await self._discoveries.tell_problems(tx, account, opened=opened, closed=closed)


def _is_ours(row: BrokerOrder) -> bool:
    return row.tag is not None and is_our_tag(row.tag)


def _is_past(moment: datetime | None, began: datetime, horizon: timedelta) -> bool:
    return moment is not None and began > moment + horizon


def _is_missing(one: Placement, read: BookRead, strangers: list[BrokerOrder], horizon: timedelta) -> bool:
    """Whether this read says that the order is not at the broker."""
    return (
        one.claimant.is_unknown
        and one.same_day
        and read.whole
        and _is_past(one.send_by, read.began, horizon)
        and not any(row.tag is None and could_be(one.claimant, row) for row in strangers)
    )
