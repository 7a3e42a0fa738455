"""The tables: columns, constraints and indexes, nothing else. Only `app.repositories` may import this package."""

from app.models.accounts import AccountBlockRow, BrokerAccountRow, BrokerSessionRow, UserRow
from app.models.balances import (
    BalanceRow,
    BalanceSnapshotRow,
    BookReadRow,
    ReconciliationRequestRow,
    ReconciliationRow,
)
from app.models.base import Base
from app.models.instruments import BrokerSymbolRow, InstrumentRow
from app.models.market import BarRow, MarketClockRow, ReplayRow
from app.models.orders import IdempotencyKeyRow, OrderCommandRow, OrderEventRow, OrderRow
from app.models.positions import FillRow, PositionRow
from app.models.strategies import SignalRow, StrategyRow
from app.models.system import LeaseRow
from app.models.watching import AlertRow, AuditRow

metadata = Base.metadata

__all__ = [
    "AccountBlockRow",
    "AlertRow",
    "AuditRow",
    "BalanceRow",
    "BalanceSnapshotRow",
    "BarRow",
    "BookReadRow",
    "BrokerAccountRow",
    "BrokerSessionRow",
    "BrokerSymbolRow",
    "FillRow",
    "IdempotencyKeyRow",
    "InstrumentRow",
    "LeaseRow",
    "MarketClockRow",
    "OrderCommandRow",
    "OrderEventRow",
    "OrderRow",
    "PositionRow",
    "ReconciliationRequestRow",
    "ReconciliationRow",
    "ReplayRow",
    "SignalRow",
    "StrategyRow",
    "UserRow",
    "metadata",
]
