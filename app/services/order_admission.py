"""Whether an order is taken at this moment: what account, market, login and position say. Refusals are answers."""

from datetime import date, datetime

from app.core.accounts import AccountStatus
from app.core.errors import OrderRefused
from app.core.orders import OrderIntent, Purpose
from app.repositories.accounts import AccountNow


def admit(intent: OrderIntent, now: AccountNow | None) -> tuple[datetime, date]:
    """Return market time and trading day, or raise `OrderRefused` by how account and market stand."""
    if now is None or now.market_time is None or now.trading_day is None:
        raise OrderRefused(
            code="market_time_unknown", message="the account's market has no time yet: its feed is not running"
        )
    if now.status is not AccountStatus.ACTIVE:
        raise OrderRefused(code="account_paused", message="the account is paused and takes no orders")
    if intent.purpose is Purpose.ENTRY:
        _admit_entry(now)
    if intent.deadline is not None and intent.deadline <= now.market_time:
        raise OrderRefused(
            code="deadline_passed", message=f"the deadline is not after the market's time {now.market_time.isoformat()}"
        )
    return now.market_time, now.trading_day


def admit_raise(now: AccountNow | None) -> None:
    """Refuse to raise the quantity of an entry where the account would not take another one."""
    if now is None or now.status is not AccountStatus.ACTIVE:
        raise OrderRefused(code="account_paused", message="the account is paused: no quantity is raised")
    _admit_entry(now)


def _admit_entry(now: AccountNow) -> None:
    """Refuse what an exit is let through for: reducing a position must stay possible whatever is wrong."""
    if now.stale:
        raise OrderRefused(
            code="market_time_unknown", message="the account's market told its time last a while ago: is its feed dead?"
        )
    if now.blocks is not None:
        raise OrderRefused(
            code="account_blocked", message=f"the account takes no entries until somebody has looked: {now.blocks}"
        )
    if now.logged_out:
        raise OrderRefused(
            code="broker_logged_out", message="the account is not logged in at its broker: entries are not taken"
        )


def check_exit(intent: OrderIntent, reducible: int) -> None:
    """Refuse an exit that would do more than reduce: it would flip the position, or open one."""
    if intent.quantity > reducible:
        raise OrderRefused(
            code="nothing_to_reduce",
            message=f"a {intent.side} of {intent.quantity} exceeds the {reducible} that are left to reduce",
        )
