"""The wall clock of a process, and Indian exchange time."""

import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

IST = ZoneInfo("Asia/Kolkata")

# Linux's ordinary monotonic clock stands still while a machine is suspended, and the database's does not: an order
# would be sent after its claim was given up.
_NEVER_STANDS_STILL = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """Implements `core.ports.Clock` on the machine's clock."""

    def now(self) -> datetime:
        """Return the present time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never step back and that go on while the process is stopped or the machine sleeps."""
        return time.clock_gettime(_NEVER_STANDS_STILL)


def ist_day(moment: datetime) -> date:
    """Return the Indian calendar day of a moment."""
    return moment.astimezone(IST).date()


def next_ist_midnight(moment: datetime) -> datetime:
    """Return the next midnight in India, in UTC: when brokers end every session."""
    local = moment.astimezone(IST)
    midnight = datetime(local.year, local.month, local.day, tzinfo=IST) + timedelta(days=1)
    return midnight.astimezone(UTC)
