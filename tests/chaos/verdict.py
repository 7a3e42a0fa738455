"""The verdict: what we say of every order, trade and rupee against what the exchange's own ledger holds. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from app.core.attribution import SHOWN_AS
from app.core.orders import TERMINAL_STATUSES, OrderStatus, OrderType
from tests.chaos.evidence import Evidence, Held, LedgerOrder, OurOrder, Trade

WORKING = frozenset({"open pending", "open", "trigger pending"})
"""The exchange's words for an order that can still trade."""

UNDECIDED = frozenset({OrderStatus.PENDING, OrderStatus.SUBMITTING})
STATED_REFUSALS = frozenset({OrderStatus.REJECTED, OrderStatus.EXPIRED})
_ENDS = {"complete": OrderStatus.COMPLETE, "cancelled": OrderStatus.CANCELLED, "rejected": OrderStatus.REJECTED}

COUNTS = (
    "lost",
    "duplicates",
    "stuck",
    "unknown",
    "position_mismatch",
    "terms_mismatch",
    "contradictions",
    "strangers",
)
"""Each of these is zero where every invariant holds; the cash has its own figure."""


@dataclass(slots=True, kw_only=True)
class Verdict:
    """Counts, what each violation was, and the tags of the orders concerned. `cash_mismatch` in rupees."""

    lost: int = 0
    duplicates: int = 0
    stuck: int = 0
    unknown: int = 0
    unsettleable: int = 0
    position_mismatch: int = 0
    terms_mismatch: int = 0
    contradictions: int = 0
    strangers: int = 0
    cash_mismatch: Decimal = Decimal(0)
    broker_orders: int = 0
    findings: list[str] = field(default_factory=list)
    offenders: set[str] = field(default_factory=set)

    @property
    def clean(self) -> bool:
        """Whether every invariant held. What nobody can settle without a tag is an honest outcome, no violation."""
        return not self.cash_mismatch and not any(getattr(self, name) for name in COUNTS)

    def find(self, count: str, text: str, tag: str | None = None) -> None:
        """Count a violation and say what it is."""
        setattr(self, count, getattr(self, count) + 1)
        self.findings.append(f"{count}: {text}")
        if tag is not None:
            self.offenders.add(tag)


def judge(evidence: Evidence) -> Verdict:
    """Compare every accepted intent, and everything in the ledger, with our books."""
    verdict = Verdict(broker_orders=len(evidence.ledger))
    at_broker: dict[str, list[LedgerOrder]] = defaultdict(list)
    for row in evidence.ledger:
        at_broker[row.tag].append(row)
    ours = {order.tag: order for order in evidence.ours}
    for tag in evidence.accepted:
        order = ours.get(tag)
        if order is None:
            verdict.find("lost", f"the order with tag {tag} was accepted and is not in our books", tag)
        else:
            _judge_order(verdict, evidence, order, at_broker.get(tag, []))
    for tag in at_broker.keys() - set(evidence.accepted):
        verdict.find("strangers", f"the exchange has {at_broker[tag]}, which no intent became", tag)
    for order in evidence.ours:
        if not order.is_ours:
            verdict.find("strangers", f"{order} is in our books, and nobody else trades here", order.tag)
    unheard = {order.tag for order in evidence.ours if order.status is OrderStatus.UNKNOWN}
    _judge_trades(verdict, evidence, {row.order_id for tag in unheard for row in at_broker.get(tag, [])})
    return verdict


def _judge_order(verdict: Verdict, evidence: Evidence, order: OurOrder, rows: Sequence[LedgerOrder]) -> None:
    if len(rows) > 1:
        verdict.find("duplicates", f"{order} is {len(rows)} orders at the exchange: {rows}", order.tag)
    if order.status is OrderStatus.UNKNOWN:
        if nobody_can_settle(order, evidence):
            verdict.unsettleable += 1
        else:
            verdict.find("unknown", f"{order} while the exchange says {rows}", order.tag)
        return
    if not rows and not ((order.status in STATED_REFUSALS and order.reason) or order.unsent):
        verdict.find("lost", f"{order} never reached the exchange", order.tag)
    if rows and order.unsent:
        verdict.find("contradictions", f"{order} was never to be sent, and the exchange has {rows}", order.tag)
    works = any(row.status in WORKING for row in rows)
    if order.status in UNDECIDED or (order.status not in TERMINAL_STATUSES and not works):
        verdict.find("stuck", f"{order} while the exchange says {rows}", order.tag)
    elif order.id in evidence.cancelled and works:
        verdict.find("contradictions", f"a cancel of {order} was taken, and the exchange says {rows}", order.tag)
    if len(rows) == 1:
        _compare(verdict, order, rows[0])
    elif order.filled and not rows:
        verdict.find("position_mismatch", f"{order} has fills and never reached the exchange", order.tag)


def _compare(verdict: Verdict, order: OurOrder, row: LedgerOrder) -> None:
    if order.broker_order_id not in (None, row.order_id):
        verdict.find("contradictions", f"{order} is taken for another order than {row}", order.tag)
    if order.filled != row.filled:
        verdict.find("position_mismatch", f"{order} while the exchange says {row}", order.tag)
    if row.status in WORKING:
        if order.status in TERMINAL_STATUSES:
            verdict.find("contradictions", f"{order} while the exchange says {row}", order.tag)
        elif order.terms != row.terms:
            verdict.find("terms_mismatch", f"{order} while the exchange says {row}", order.tag)
    elif order.status in TERMINAL_STATUSES and order.status is not _ENDS.get(row.status):
        verdict.find("contradictions", f"{order} while the exchange says {row}", order.tag)


def nobody_can_settle(order: OurOrder, evidence: Evidence) -> bool:
    """Whether, where no source gives tags back, an UNKNOWN order has more than one possible match.

    One row that only this order can be would be adopted; no such row at all would be proof of absence.
    """
    if evidence.tag_mode != "none":
        return False
    taken = {other.broker_order_id for other in evidence.ours if other.broker_order_id is not None}
    rows = [row for row in evidence.ledger if row.order_id not in taken and _fits(order, row)]
    claimants = [
        other
        for other in evidence.ours
        if other.status is OrderStatus.UNKNOWN and any(_fits(other, row) for row in rows)
    ]
    return bool(rows) and (len(rows) > 1 or len(claimants) > 1)


def _fits(order: OurOrder, row: LedgerOrder) -> bool:
    """Whether the row could be the order's, for all that a broker's book says of it: a stop may show as a limit."""
    wanted, shown = order.terms, row.terms
    kind = OrderType(wanted.order_type)
    return (
        (order.held, order.side, wanted.quantity) == (row.held, row.side, shown.quantity)
        and OrderType(shown.order_type) in SHOWN_AS[kind]
        and (not kind.has_limit_price or shown.price in (0, wanted.price))
        and (not kind.has_trigger or shown.trigger_price in (0, wanted.trigger_price))
    )


def _judge_trades(verdict: Verdict, evidence: Evidence, unheard: set[str]) -> None:
    """Compare trades, positions and cash, without what the orders traded of which we say that we do not know."""
    ledger = {row.order_id: row for row in evidence.ledger}
    _judge_fills(verdict, evidence, unheard)
    net: Counter[Held] = Counter()
    unheard_cash: dict[str, Decimal] = defaultdict(Decimal)
    for trade in evidence.ledger_trades:
        row = ledger[trade.broker_order_id]
        if trade.broker_order_id in unheard:
            unheard_cash[trade.account] += row.side.sign * trade.quantity * trade.price + trade.fees
        else:
            net[row.held] += row.side.sign * trade.quantity
    for held in net.keys() | evidence.positions.keys():
        ours = evidence.positions.get(held, 0)
        if net[held] != ours:
            verdict.find("position_mismatch", f"{held} is {ours} in our books, {net[held]} at the exchange")
    _judge_cash(verdict, evidence, unheard_cash)


def _judge_fills(verdict: Verdict, evidence: Evidence, unheard: set[str]) -> None:
    """Compare trades one by one, and their charges order by order.

    Charges are an order's: which of its trades bears which part follows their times, and the exchange's clock jumps.
    """
    heard = [trade for trade in evidence.ledger_trades if trade.broker_order_id not in unheard]
    ours = Counter(trade._replace(fees=Decimal(0)) for trade in evidence.our_trades)
    theirs = Counter(trade._replace(fees=Decimal(0)) for trade in heard)
    missing, invented = theirs - ours, ours - theirs
    tags = {row.order_id: row.tag for row in evidence.ledger}
    for trade in _all(missing):
        verdict.find("position_mismatch", f"{trade} is not in our books", tags.get(trade.broker_order_id))
    for trade in _all(invented):
        verdict.find("position_mismatch", f"{trade} is only in our books", tags.get(trade.broker_order_id))
    our_fees, their_fees = _fees(evidence.our_trades), _fees(heard)
    for broker_order_id in our_fees.keys() & their_fees.keys():
        if our_fees[broker_order_id] != their_fees[broker_order_id]:
            said = f"{our_fees[broker_order_id]} in our books, {their_fees[broker_order_id]} at the exchange"
            verdict.find("position_mismatch", f"charges of {broker_order_id}: {said}", tags.get(broker_order_id))


def _fees(trades: Iterable[Trade]) -> dict[str, Decimal]:
    fees: dict[str, Decimal] = defaultdict(Decimal)
    for trade in trades:
        fees[trade.broker_order_id] += trade.fees
    return fees


def _all(trades: Counter[Trade]) -> list[Trade]:
    return sorted(trades.elements())


def _judge_cash(verdict: Verdict, evidence: Evidence, unheard_cash: Mapping[str, Decimal]) -> None:
    for account, theirs in evidence.ledger_cash.items():
        ours = evidence.cash.get(account)
        expected = theirs + unheard_cash.get(account, Decimal(0))
        if ours != expected:
            verdict.cash_mismatch += expected if ours is None else abs(ours - expected)
            verdict.findings.append(f"cash: {account} has {ours} in our books, {expected} at the exchange")
