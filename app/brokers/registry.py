"""The only door to the adapters."""

from collections.abc import Callable
from datetime import date
from functools import cache

from app.brokers.angelone.adapter import AngelOneBroker
from app.brokers.base import AccountCredentials, BrokerClient, BrokerFactory, BrokerRecord, BrokerSetup
from app.brokers.null.adapter import NullBroker
from app.brokers.paper_guard import checked_base_url
from app.brokers.records import load_records
from app.core.accounts import AccountMode
from app.core.ports import Clock
from app.infra.clock import ist_day

_FACTORIES: dict[str, BrokerFactory] = {"angelone": AngelOneBroker, "null": NullBroker}


class UnknownBroker(LookupError):
    """No adapter or record has this name."""


@cache
def broker_records() -> dict[str, BrokerRecord]:
    """Return the records of all brokers, read once for each process; raises `BrokerRecordError`."""
    return load_records()


def broker_record(name: str) -> BrokerRecord:
    """Return the record of one broker; raises `UnknownBroker`."""
    record = broker_records().get(name)
    if record is None or name not in _FACTORIES:
        raise UnknownBroker(f"no broker is named {name!r}; there are {', '.join(sorted(_FACTORIES))}")
    return record


def build_broker(
    name: str,
    *,
    mode: AccountMode,
    base_url: str,
    credentials: AccountCredentials,
    clock: Clock,
    trade_date: Callable[[], date] | None = None,
) -> BrokerClient:
    """Return the client of one account; it connects on first use.

    `base_url` is the paper exchange's or the broker's own `http(s)://host[:port]`. `trade_date` tells the exchange's
    day for trade rows, which carry a time only; it is today in India unless a replay says otherwise.
    Raises `PaperGuardError` for an address that the account's mode forbids, and `UnknownBroker`.
    """
    record = broker_record(name)
    return _FACTORIES[name](
        BrokerSetup(
            record=record,
            mode=mode,
            base_url=checked_base_url(base_url, mode=mode, record=record, all_records=broker_records().values()),
            credentials=credentials,
            clock=clock,
            trade_date=trade_date or (lambda: ist_day(clock.now())),
        )
    )
