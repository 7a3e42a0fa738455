"""Reconciliations: our books beside the broker's, and what was found. Nothing here corrects anything."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from app.core.instruments import Exchange
from app.core.orders import Product


class ReconciliationCause(StrEnum):
    """Why the books were compared."""

    START = "START"
    PERIODIC = "PERIODIC"
    DAY_END = "DAY_END"
    REQUEST = "REQUEST"


class ReconciliationVerdict(StrEnum):
    """What a comparison found. UNREADABLE: the broker's books could not be read, which says nothing about them."""

    MATCH = "MATCH"
    MISMATCH = "MISMATCH"
    UNREADABLE = "UNREADABLE"


class DifferenceKind(StrEnum):
    """What can differ: a net position, the cash, or an order that is open here and not in the broker's book."""

    POSITION = "POSITION"
    CASH = "CASH"
    ORDER = "ORDER"


class Symbol(NamedTuple):
    """An instrument by the name that the broker gives it."""

    exchange: Exchange
    trading_symbol: str


class Line(NamedTuple):
    """One line of a broker's positions."""

    symbol: Symbol
    product: Product

    def __str__(self) -> str:
        return f"{self.symbol.exchange}:{self.symbol.trading_symbol} {self.product}"


class Holding(NamedTuple):
    """Our net quantity of a line, and all that was ever traded of it: that grows with every fill."""

    quantity: int
    traded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OurBooks:
    """What our fills make, at one moment. `moving` has an order whose outcome is not known; cash None: not opened."""

    holdings: Mapping[Line, Holding]
    cash: Decimal | None
    moving: frozenset[Symbol] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokersBooks:
    """What the broker says."""

    quantities: Mapping[Line, int]
    cash: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference. `mark` changes with every fill of ours that bears on it, so that equal ones are the same."""

    kind: DifferenceKind
    subject: str
    ours: str
    theirs: str
    mark: str = ""
    symbol: Symbol | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What one look saw. `skipped` lines were in motion, so that they could not be compared."""

    differences: tuple[Difference, ...]
    compared: int
    skipped: int


def compare(before: OurBooks, theirs: BrokersBooks, after: OurBooks) -> Comparison:
    """Compare what the broker said with what we had just before and just after asking.

    What changed between the two, or has an order on its way, is skipped: the broker was asked in the middle of it.
    Cash is skipped as soon as anything is in motion, because every fill moves it.
    """
    moving = before.moving | after.moving
    found: list[Difference] = []
    skipped = 0
    lines = set(before.holdings) | set(after.holdings) | set(theirs.quantities)
    for line in sorted(lines, key=str):
        ours = after.holdings.get(line, Holding(0, 0))
        if line.symbol in moving or before.holdings.get(line, Holding(0, 0)) != ours:
            skipped += 1
            continue
        quantity = theirs.quantities.get(line, 0)
        if quantity != ours.quantity:
            found.append(
                Difference(
                    kind=DifferenceKind.POSITION,
                    subject=str(line),
                    ours=str(ours.quantity),
                    theirs=str(quantity),
                    mark=str(ours.traded),
                    symbol=line.symbol,
                )
            )
    quiet = not moving and skipped == 0 and before.cash == after.cash
    if quiet and after.cash is not None and after.cash != theirs.cash:
        found.append(
            Difference(kind=DifferenceKind.CASH, subject="cash", ours=money(after.cash), theirs=money(theirs.cash))
        )
    return Comparison(differences=tuple(found), compared=len(lines) - skipped, skipped=skipped)


def money(amount: Decimal) -> str:
    """Return rupees as text, at least to the paisa and without idle zeros: the same amount is the same text."""
    exact = amount.normalize()
    exponent = exact.as_tuple().exponent
    digits = max(2, -exponent) if isinstance(exponent, int) else 2
    return format(exact, f".{digits}f")


class Suspicions:
    """Which differences were seen before, and since when: only what stays the same for a while counts.

    `settles_after_s` passes between the first sight of a difference and the one that confirms it; what a trade that we
    have not recorded yet may explain is given `explained_for_s`. Times are any clock's seconds that never step back.
    """

    def __init__(self, *, settles_after_s: float, explained_for_s: float) -> None:
        self._settles_after_s = settles_after_s
        self._explained_for_s = explained_for_s
        self._since: dict[Difference, float] = {}

    def confirm(
        self, seen: Collection[Difference], *, unrecorded: Collection[Symbol], now: float
    ) -> tuple[list[Difference], int]:
        """Return the differences that count, and how many do not yet."""
        self._since = {one: self._since.get(one, now) for one in seen}
        counted = []
        for one in seen:
            explained = bool(unrecorded) if one.symbol is None else one.symbol in unrecorded
            wait_s = self._explained_for_s if explained else self._settles_after_s
            if now - self._since[one] >= wait_s:
                counted.append(one)
        return counted, len(seen) - len(counted)
