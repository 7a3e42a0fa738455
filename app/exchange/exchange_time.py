"""Exchange time: Asia/Kolkata days, the session, and the wire's way of writing times."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

IST = ZoneInfo("Asia/Kolkata")
SESSION_OPENS = time(9, 15)
SESSION_CLOSES = time(15, 30)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def exchange_day(at: datetime) -> date:
    """Return the exchange's calendar day of a moment."""
    return at.astimezone(IST).date()


def in_session(at: datetime) -> bool:
    """Whether a moment lies in the trading session, both ends included."""
    return SESSION_OPENS <= at.astimezone(IST).time() <= SESSION_CLOSES


def session_over(at: datetime) -> bool:
    """Whether the day's session has ended at this moment."""
    return at.astimezone(IST).time() > SESSION_CLOSES


def next_midnight(at: datetime) -> datetime:
    """Return the next 00:00 in exchange time, as UTC: when sessions end."""
    tomorrow = exchange_day(at) + timedelta(days=1)
    return datetime.combine(tomorrow, time(), tzinfo=IST).astimezone(UTC)


def wire_time(at: datetime) -> str:
    """Write a moment as books do: `20-Oct-2020 13:10:59`, IST without a zone (and no locale)."""
    local = at.astimezone(IST)
    return f"{local.day:02d}-{_MONTHS[local.month - 1]}-{local.year} {local:%H:%M:%S}"


def wire_clock_time(at: datetime) -> str:
    """Write a moment as trade rows do: `13:10:59`."""
    return f"{at.astimezone(IST):%H:%M:%S}"
