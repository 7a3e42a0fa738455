"""How many writes an account may send: the broker's ceilings, and the regulator's for each exchange segment."""

from dataclasses import dataclass

from app.brokers.base import BrokerRecord, EndpointGroup, RateLimit
from app.core.accounts import Account, AccountMode

SEGMENT_PER_SECOND = 10
"""Orders a second in one exchange segment, above which the exchanges want an algorithm to be registered (SEBI's
circular on retail algorithmic trading of February 2025)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteLimits:
    """Writes of one client code over all segments, and of one segment; None where there is no such limit."""

    per_second: int
    per_minute: int | None
    per_hour: int | None
    segment_per_second: int


def write_limits(account: Account, record: BrokerRecord) -> WriteLimits:
    """Return the limits of an account: its own, but never more than the broker's record allows.

    Only a paper account may be raised above the record, by naming more orders a second than the broker takes. What
    it does not name has no limit then: it trades at an exchange of ours.
    """
    stated = record.limits.get(EndpointGroup.ORDERS)
    raised = account.mode is AccountMode.PAPER and (stated is None or account.orders_per_second > stated.per_second)
    if stated is None or raised:
        return WriteLimits(
            per_second=account.orders_per_second,
            per_minute=account.orders_per_minute,
            per_hour=account.orders_per_hour,
            segment_per_second=account.orders_per_second if raised else SEGMENT_PER_SECOND,
        )
    return _within(account, stated)


def _within(account: Account, stated: RateLimit) -> WriteLimits:
    return WriteLimits(
        per_second=min(account.orders_per_second, stated.per_second),
        per_minute=_lower(account.orders_per_minute, stated.per_minute),
        per_hour=_lower(account.orders_per_hour, stated.per_hour),
        segment_per_second=SEGMENT_PER_SECOND,
    )


def _lower(own: int | None, stated: int | None) -> int | None:
    if own is None or stated is None:
        return stated if own is None else own
    return min(own, stated)
