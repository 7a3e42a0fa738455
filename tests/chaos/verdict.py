"""The verdict: what we say of every order against what the exchange's own ledger holds. Pure."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.core.orders import TERMINAL_STATUSES, OrderStatus, Side
from tests.harness.paper_control import LedgerOrder

WORKING = frozenset({"open pending", "open", "trigger pending"})
"""The exchange's words for an order that can still trade."""

UNDECIDED = frozenset({OrderStatus.PENDING, OrderStatus.SUBMITTING})
STATED_REFUSALS = frozenset({OrderStatus.REJECTED, OrderStatus.EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class OurOrder:
    """One order in our books; `account` by name, `counted` is the sum of its recorded fills in units."""

    tag: str
    account: str
    status: OrderStatus
    reason: str | None
    filled: int
    counted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that is compared. `accepted` holds the tags of answered intents; positions are net units."""

    accepted: Sequence[str]
    ours: Sequence[OurOrder]
    ledger: Mapping[str, Sequence[LedgerOrder]]
    positions: Mapping[str, int]


@dataclass(slots=True, kw_only=True)
class Verdict:
    """Counts, and what each violation was."""

    lost: int = 0
    duplicates: int = 0
    stuck: int = 0
    position_mismatch: int = 0
    strangers: int = 0
    unknown: int = 0
    broker_orders: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether every invariant held. UNKNOWN is an honest outcome, not a violation."""
        return not (self.lost or self.duplicates or self.stuck or self.position_mismatch or self.strangers)


def judge(evidence: Evidence) -> Verdict:
    """Compare every accepted intent, and everything in the ledger, with our books."""
    verdict = Verdict(broker_orders=sum(len(rows) for rows in evidence.ledger.values()))
    at_broker: dict[str, list[LedgerOrder]] = defaultdict(list)
    for rows in evidence.ledger.values():
        for row in rows:
            at_broker[row.tag].append(row)
    ours = {order.tag: order for order in evidence.ours}
    for tag in evidence.accepted:
        _judge_intent(verdict, tag, ours.get(tag), at_broker.get(tag, []))
    for tag in at_broker.keys() - set(evidence.accepted):
        verdict.strangers += 1
        verdict.findings.append(f"stranger: the exchange has {at_broker[tag]}, which no intent became")
    _judge_positions(verdict, evidence, ours)
    return verdict


def _judge_intent(verdict: Verdict, tag: str, order: OurOrder | None, rows: Sequence[LedgerOrder]) -> None:
    if len(rows) > 1:
        verdict.duplicates += 1
        verdict.findings.append(f"duplicate: {order} is {len(rows)} orders at the exchange: {rows}")
    if order is None:
        verdict.lost += 1
        verdict.findings.append(f"lost: the order with tag {tag} was accepted and is not in our books")
        return
    if order.status is OrderStatus.UNKNOWN:
        verdict.unknown += 1
        return
    if not rows and not (order.status in STATED_REFUSALS and order.reason):
        verdict.lost += 1
        verdict.findings.append(f"lost: {order} never reached the exchange")
    works = any(row.status in WORKING for row in rows)
    if order.status in UNDECIDED or (order.status not in TERMINAL_STATUSES and not works):
        verdict.stuck += 1
        verdict.findings.append(f"stuck: {order} while the exchange says {rows}")
    if order.filled != sum(row.filled for row in rows) or order.counted != order.filled:
        verdict.position_mismatch += 1
        verdict.findings.append(f"fills: {order} while the exchange says {rows}")


def _judge_positions(verdict: Verdict, evidence: Evidence, ours: Mapping[str, OurOrder]) -> None:
    net: Counter[str] = Counter()
    for account, rows in evidence.ledger.items():
        for row in rows:
            order = ours.get(row.tag)
            # What an UNKNOWN order traded is in nobody's books yet.
            if order is None or order.status is not OrderStatus.UNKNOWN:
                net[account] += Side(row.side).sign * row.filled
    for account in evidence.ledger:
        if net[account] != evidence.positions.get(account, 0):
            verdict.position_mismatch += 1
            held = evidence.positions.get(account, 0)
            verdict.findings.append(f"position: {account} holds {held} in our books, {net[account]} at the exchange")
