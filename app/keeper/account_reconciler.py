"""Compares one account with its broker for as long as it is watched: reports, blocks and alerts follow the verdicts."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from app.core.accounts import Account, AccountMode, BlockReason
from app.core.alerts import AlertKind, Severity
from app.core.errors import BrokerUnreadable
from app.core.ports import Clock
from app.core.reconciliations import (
    Difference,
    DifferenceKind,
    ReconciliationCause,
    ReconciliationVerdict,
)
from app.infra.events import wait_or_timeout
from app.infra.ids import new_id
from app.infra.logging import get_logger
from app.infra.metrics import VERDICTS
from app.repositories.leases import Lease
from app.repositories.reconciliations import Reconciliation as Report
from app.repositories.unit_of_work import Transaction, UnitOfWork
from app.services.reconciliation import Look, Reconciliation

log = get_logger(__name__)

_ALERTS = {
    DifferenceKind.POSITION: (AlertKind.POSITION_MISMATCH, Severity.CRITICAL),
    DifferenceKind.CASH: (AlertKind.CASH_MISMATCH, Severity.CRITICAL),
    DifferenceKind.ORDER: (AlertKind.ORDER_MISMATCH, Severity.CRITICAL),
}
SHOWN_MAX = 100
"""Differences in one report; the counts tell of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """How often an account is looked at, in seconds.

    `look_every_s` positions and cash; `book_every_s` the order book too; `suspect_every_s` while a difference waits for
    its second sight; `trouble_every_s` while the books differ or cannot be read. `settle_within_s`: a report that is
    asked for comes by then, whatever is still suspected. `unreadable_after_s`: how long the broker may be unreadable
    before the account takes no entries any more.
    """

    look_every_s: float = 15.0
    book_every_s: float = 60.0
    suspect_every_s: float = 2.1
    trouble_every_s: float = 5.0
    settle_within_s: float = 10.0
    unreadable_after_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    verdict: ReconciliationVerdict
    differences: tuple[Difference, ...] = ()
    error: str | None = None
    whole: bool = False


class AccountReconciler:
    """Looks again and again; stores a report where one is asked for, and where the finding is news."""

    def __init__(
        self,
        account: Account,
        reconciliation: Reconciliation,
        *,
        uow: UnitOfWork,
        lease: Lease,
        clock: Clock,
        rhythm: Rhythm | None = None,
    ) -> None:
        self._account = account
        self._reconciliation = reconciliation
        self._uow = uow
        self._lease = lease
        self._clock = clock
        self._rhythm = rhythm or Rhythm()
        self._due: set[ReconciliationCause] = set()
        self._answering: list[ReconciliationCause] = []
        self._wake = asyncio.Event()
        self._last: tuple[object, ...] | None = None
        self._standing: tuple[Difference, ...] = ()
        self._all_was_seen = False
        self._unreadable_since: float | None = None
        self._suspecting_since: float | None = None
        self._book_at = 0.0

    def request(self, cause: ReconciliationCause) -> None:
        """Ask for a report; asking again for what is due already changes nothing."""
        if cause not in self._due:
            self._due.add(cause)
            self._wake.set()

    async def run(self) -> None:
        """Look until cancelled. Broker errors are findings; `LeaseLost` and database errors end it."""
        while True:
            await wait_or_timeout(self._wake, await self._turn())

    async def _turn(self) -> float:
        """Look once; returns the seconds until the next look."""
        started_at = self._clock.now()
        now = self._clock.monotonic()
        self._answering = sorted(self._due)
        with_orders = bool(self._answering) or self._wants_orders() or now >= self._book_at
        try:
            look = await self._reconciliation.look(with_orders=with_orders)
        except BrokerUnreadable as error:
            return await self._cannot_read(str(error), started_at)
        self._unreadable_since = None
        if with_orders:
            self._book_at = now + self._rhythm.book_every_s
        return await self._read(look)

    def _wants_orders(self) -> bool:
        suspecting = self._suspecting_since is not None
        differ = any(one.kind is DifferenceKind.ORDER for one in self._standing)
        return suspecting or differ or not self._all_was_seen

    async def _read(self, look: Look) -> float:
        rhythm = self._rhythm
        now = self._clock.monotonic()
        if look.suspected:
            self._suspecting_since = now if self._suspecting_since is None else self._suspecting_since
            if now - self._suspecting_since < rhythm.settle_within_s and not look.differences:
                return rhythm.suspect_every_s
        else:
            self._suspecting_since = None
        differences = self._with_standing(look)
        verdict = ReconciliationVerdict.MISMATCH if differences else ReconciliationVerdict.MATCH
        await self._conclude(
            _Finding(verdict=verdict, differences=differences, whole=look.whole),
            look.started_at,
            look.finished_at,
            dict(look.counts),
        )
        if look.suspected:
            return rhythm.suspect_every_s
        trouble = any(self._blocks(one.kind) for one in differences)
        return rhythm.trouble_every_s if trouble else rhythm.look_every_s

    def _with_standing(self, look: Look) -> tuple[Difference, ...]:
        """Return what this look found, and what earlier ones found of which it says nothing: it is not over by that."""
        found = {(one.kind, one.subject) for one in look.differences}
        kept = [one for one in self._standing if (one.kind, one.subject) not in found and look.leaves_open(one)]
        return (*look.differences, *kept)

    async def _cannot_read(self, error: str, started_at: datetime) -> float:
        now = self._clock.monotonic()
        if self._unreadable_since is None:
            self._unreadable_since = now
        elapsed_s = now - self._unreadable_since
        if elapsed_s < self._rhythm.unreadable_after_s:
            return min(self._rhythm.trouble_every_s, self._rhythm.unreadable_after_s - elapsed_s)
        finding = _Finding(verdict=ReconciliationVerdict.UNREADABLE, error=error)
        await self._conclude(finding, started_at, self._clock.now(), {})
        return self._rhythm.trouble_every_s

    async def _conclude(
        self, finding: _Finding, started_at: datetime, finished_at: datetime, counts: dict[str, int]
    ) -> None:
        """Store what was found and let blocks and alerts follow, where it is news or a report is due."""
        VERDICTS.labels(finding.verdict.value).inc()
        causes = self._answering
        essence = self._essence(finding)
        is_news = essence != self._last
        # What an earlier keeper found stands until all of it was looked at once.
        all_seen = self._all_was_seen or finding.whole
        follows = is_news or all_seen is not self._all_was_seen
        if not causes and not follows:
            return
        async with self._uow.fenced(self._lease) as tx:
            for cause in causes or ([ReconciliationCause.PERIODIC] if is_news else []):
                await tx.reconciliations.add(
                    Report(
                        id=new_id(),
                        account_id=self._account.id,
                        cause=cause,
                        verdict=finding.verdict,
                        started_at=started_at,
                        finished_at=finished_at,
                        counts=counts | {"differences": len(finding.differences)},
                        differences=[_shown(one) for one in finding.differences[:SHOWN_MAX]],
                        error=finding.error,
                    )
                )
            await tx.reconciliations.answered(self._account.id, causes, started_at=started_at)
            if follows:
                await self._follow(tx, finding, lifts=all_seen)
        if is_news:
            log.info("reconciliation.verdict", account=self._account.name, verdict=finding.verdict.value)
        self._last = essence
        self._all_was_seen = all_seen
        if finding.verdict is not ReconciliationVerdict.UNREADABLE:
            self._standing = finding.differences
        self._due.difference_update(causes)

    async def _follow(self, tx: Transaction, finding: _Finding, *, lifts: bool) -> None:
        if finding.verdict is ReconciliationVerdict.UNREADABLE:
            # What was found before stays as it is: not being able to read proves nothing.
            detail = f"the broker has been unreadable for more than {self._rhythm.unreadable_after_s:.0f} s"
            await tx.blocks.set(self._account.id, BlockReason.UNREADABLE, f"{detail}: {finding.error}")
            await self._alert(tx, AlertKind.BROKER_UNREADABLE, Severity.CRITICAL, f"{detail}: {finding.error}")
            return
        await tx.blocks.lift(self._account.id, BlockReason.UNREADABLE)
        await tx.alerts.close(AlertKind.BROKER_UNREADABLE, self._account.name)
        for kind, (alert, severity) in _ALERTS.items():
            own = [one for one in finding.differences if one.kind is kind]
            if own:
                await self._alert(tx, alert, severity if self._blocks(kind) else Severity.INFO, _told(own))
            elif lifts:
                await tx.alerts.close(alert, self._account.name)
        blocking = [one for one in finding.differences if self._blocks(one.kind)]
        if blocking:
            await tx.blocks.set(self._account.id, BlockReason.MISMATCH, _told(blocking))
        elif lifts:
            await tx.blocks.lift(self._account.id, BlockReason.MISMATCH)

    def _essence(self, finding: _Finding) -> tuple[object, ...]:
        """Return what makes a finding news: neither an error's words nor a figure that is expected to differ."""
        shown = tuple(
            (one.kind, one.subject, one.ours, one.theirs) if self._blocks(one.kind) else (one.kind,)
            for one in finding.differences
        )
        return (finding.verdict, shown)

    def _blocks(self, kind: DifferenceKind) -> bool:
        # A real broker's cash holds margins, pledges and charges that come days later: it never equals a ledger's.
        return kind is not DifferenceKind.CASH or self._account.mode is AccountMode.PAPER

    async def _alert(self, tx: Transaction, kind: AlertKind, severity: Severity, message: str) -> None:
        await tx.alerts.open(kind, self._account.name, severity=severity, message=message, account_id=self._account.id)


def _shown(one: Difference) -> dict[str, str]:
    return {"kind": one.kind.value, "subject": one.subject, "ours": one.ours, "theirs": one.theirs}


def _told(differences: list[Difference]) -> str:
    told = [f"{one.subject}: {one.ours} here, {one.theirs} at the broker" for one in differences[:10]]
    more = len(differences) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more > 0 else "")
