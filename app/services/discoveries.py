"""Orders in a broker's book that are none of ours: stored as orders, so that their fills and positions count."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from app.core.accounts import Account, BlockReason
from app.core.alerts import AlertKind, Severity
from app.core.attribution import Claimant, on_same_side
from app.core.instruments import Exchange
from app.core.orders import TERMINAL_STATUSES, OrderOrigin, OrderStatus, OrderType, Validity
from app.core.ports import BrokerOrder, BrokerOrderState
from app.core.tags import is_our_tag
from app.infra.ids import new_id
from app.infra.logging import get_logger
from app.repositories.settlements import Discovery
from app.repositories.unit_of_work import Transaction

log = get_logger(__name__)

# What has traded of a COMPLETE one is told by the trade book, like every fill.
_STATUSES = {BrokerOrderState.REJECTED: OrderStatus.REJECTED, BrokerOrderState.CANCELLED: OrderStatus.CANCELLED}


@dataclass(slots=True, kw_only=True)
class Discovered:
    """How many orders were stored, and, by broker order id, why others cannot be."""

    external: int = 0
    orphans: int = 0
    problems: dict[str, str] = field(default_factory=dict)


class Discoveries:
    """Stores the orders of others, and our own that our books have lost."""

    async def store(
        self, tx: Transaction, account: Account, rows: Sequence[BrokerOrder], *, waiting: Sequence[Claimant]
    ) -> Discovered:
        """Store rows of none of our orders, but nobody's while one of ours on that side could still be it."""
        found = Discovered()
        orphans = [row for row in rows if _is_ours(row)]
        others = [row for row in rows if not _is_ours(row) and not any(on_same_side(order, row) for order in waiting)]
        if not orphans and not others:
            return found
        instruments = await tx.settlements.instruments(
            account.id,
            tokens=[row.token for row in (*orphans, *others) if row.token is not None],
            symbols=[row.trading_symbol for row in (*orphans, *others)],
        )
        for row in (*orphans, *others):
            origin = OrderOrigin.ORPHAN if _is_ours(row) else OrderOrigin.EXTERNAL
            discovery = _discovery(row, origin, instruments)
            if isinstance(discovery, str):
                found.problems[row.broker_order_id] = discovery
            elif not await tx.settlements.discover(account.id, discovery):
                continue  # its worker has bound it meanwhile
            elif origin is OrderOrigin.EXTERNAL:
                found.external += 1
                await _tell_external(tx, account, discovery)
            if origin is OrderOrigin.ORPHAN:
                found.orphans += 1
                await _tell_orphan(tx, account, row)
        return found

    async def tell_problems(
        self, tx: Transaction, account: Account, *, opened: dict[str, str], closed: set[str]
    ) -> None:
        """Open an alert for each broker order that cannot be understood, and close those of the ones that can."""
        for broker_order_id, problem in opened.items():
            log.error("discovery.unreadable", account=account.name, broker_order_id=broker_order_id, problem=problem)
            await tx.alerts.open(
                AlertKind.ROW_UNREADABLE,
                _subject(account, broker_order_id),
                severity=Severity.WARNING,
                message=f"the broker's order {broker_order_id} cannot be taken into our books: {problem}",
                account_id=account.id,
                detail={"broker_order_id": broker_order_id, "problem": problem},
            )
        for broker_order_id in closed:
            await tx.alerts.close(AlertKind.ROW_UNREADABLE, _subject(account, broker_order_id))


def _is_ours(row: BrokerOrder) -> bool:
    return row.tag is not None and is_our_tag(row.tag)


def _discovery(row: BrokerOrder, origin: OrderOrigin, instruments: dict[tuple[Exchange, str], UUID]) -> Discovery | str:
    """Return the row as an order to be stored, or why it cannot be one."""
    instrument_id = instruments.get((row.exchange, row.token or "")) or instruments.get(
        (row.exchange, row.trading_symbol)
    )
    if instrument_id is None:
        return f"no instrument of ours is {row.exchange}:{row.trading_symbol}"
    if row.product is None:
        return "its product is none that we know"
    if row.quantity == 0:
        return "it has no quantity"
    status = _STATUSES.get(row.state, OrderStatus.PLACED)
    return Discovery(
        id=new_id(),
        origin=origin,
        status=status,
        done=status in TERMINAL_STATUSES,
        reason=row.text or None,
        instrument_id=instrument_id,
        side=row.side,
        quantity=row.quantity,
        order_type=row.order_type or (OrderType.LIMIT if row.price else OrderType.MARKET),
        product=row.product,
        validity=(row.validity or Validity.DAY).value,
        price=row.price,
        trigger_price=row.trigger_price,
        broker_order_id=row.broker_order_id,
        broker_unique_id=row.broker_unique_id,
        tag=row.tag,
    )


async def _tell_external(tx: Transaction, account: Account, found: Discovery) -> None:
    log.info("discovery.external", account=account.name, broker_order_id=found.broker_order_id)
    await tx.alerts.open(
        AlertKind.EXTERNAL_ORDER,
        _subject(account, found.broker_order_id),
        severity=Severity.INFO,
        message=f"somebody else made the order {found.broker_order_id} in the account {account.name}",
        account_id=account.id,
        order_id=found.id,
    )


async def _tell_orphan(tx: Transaction, account: Account, row: BrokerOrder) -> None:
    log.error("discovery.orphan", account=account.name, broker_order_id=row.broker_order_id, tag=row.tag)
    message = f"the broker's order {row.broker_order_id} carries our tag {row.tag}, and no order of ours is it"
    await tx.alerts.open(
        AlertKind.ORPHAN_ORDER,
        _subject(account, row.broker_order_id),
        severity=Severity.CRITICAL,
        message=message,
        account_id=account.id,
        detail={"broker_order_id": row.broker_order_id, "tag": row.tag or ""},
    )
    await tx.blocks.set(account.id, BlockReason.ORPHAN, message)


def _subject(account: Account, broker_order_id: str) -> str:
    return f"{account.name}/{broker_order_id}"
