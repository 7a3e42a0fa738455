"""Reads the evidence of a run from the database and from the exchange's control endpoints."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

from app.core.orders import OrderOrigin, OrderStatus, Side
from tests.chaos.clients import Clients
from tests.chaos.evidence import Evidence, Held, LedgerOrder, OurOrder, Terms, Trade
from tests.harness.system import LoggedInAccount, System

_ORDERS = """
SELECT o.id, o.tag, a.name AS account, s.token, o.product, o.side, o.order_type, o.quantity, o.price, o.trigger_price,
  o.status, o.status_reason, o.broker_order_id, o.filled_quantity, o.origin,
  EXISTS (SELECT FROM order_events e WHERE e.order_id = o.id AND e.event = 'CANCELLED_UNSENT') AS unsent
FROM orders o JOIN broker_accounts a ON a.id = o.account_id
JOIN broker_symbols s ON s.instrument_id = o.instrument_id AND s.broker = a.broker
"""
_FILLS = """
SELECT a.name AS account, f.broker_order_id, f.trade_id, f.quantity, f.price, f.fees
FROM fills f JOIN broker_accounts a ON a.id = f.account_id
"""
_POSITIONS = """
SELECT a.name AS account, s.token, p.product, sum(p.quantity)::bigint AS net
FROM positions p JOIN broker_accounts a ON a.id = p.account_id
JOIN broker_symbols s ON s.instrument_id = p.instrument_id AND s.broker = a.broker
GROUP BY a.name, s.token, p.product
"""
_CASH = """
SELECT a.name AS account, b.opening_cash - b.flow_before
  + coalesce(sum(p.realized_pnl - p.open_cost - p.fees), 0) AS cash
FROM balances b JOIN broker_accounts a ON a.id = b.account_id LEFT JOIN positions p ON p.account_id = a.id
GROUP BY a.name, b.opening_cash, b.flow_before
"""
_UNDECIDED = """
SELECT count(*) FILTER (
    WHERE c.state IN ('PENDING', 'SUBMITTING') OR (c.state = 'HELD' AND o.status <> 'UNKNOWN')) AS undecided,
  count(*) FILTER (WHERE c.state = 'UNKNOWN') AS unknown, count(*) FILTER (WHERE c.state = 'PARKED') AS parked
FROM order_commands c JOIN orders o ON o.id = c.order_id
"""


@dataclass(frozen=True, slots=True)
class Open:
    """How many commands wait or are on their way, are UNKNOWN, and are parked.

    A cancel that is held for an UNKNOWN order waits for nothing else: it is settled with its order.
    """

    undecided: int
    unknown: int
    parked: int


async def open_commands(system: System) -> Open:
    """Count the commands that are not done."""
    row: asyncpg.Record = await system.database.fetchrow(_UNDECIDED)
    return Open(row["undecided"], row["unknown"], row["parked"])


async def collect(system: System, clients: Clients, accounts: Sequence[LoggedInAccount], *, tag_mode: str) -> Evidence:
    """Read our books first, and then the ledger: what trades in between is missing with us, and read again."""
    database = system.database
    ours = [_ours(row) for row in await database.fetch(_ORDERS)]
    our_trades = [Trade(*row) for row in await database.fetch(_FILLS)]
    positions = {
        Held(row["account"], row["token"], row["product"]): row["net"] for row in await database.fetch(_POSITIONS)
    }
    cash = {row["account"]: row["cash"] for row in await database.fetch(_CASH)}
    testimonies = [(account, await system.exchange.testimony(account.client_code)) for account in accounts]
    return Evidence(
        tag_mode=tag_mode,
        accepted=[answer.tag for answer in clients.answers if answer.tag is not None],
        cancelled=frozenset(UUID(one.order_id) for one in clients.changes if one.is_cancel and one.taken),
        ours=ours,
        ledger=[_ledger_order(account.name, row) for account, said in testimonies for row in said["orders"]],
        our_trades=our_trades,
        ledger_trades=[_ledger_trade(account.name, row) for account, said in testimonies for row in said["trades"]],
        positions={held: net for held, net in positions.items() if net},
        cash=cash,
        ledger_cash={account.name: Decimal(said["summary"]["cash"]) for account, said in testimonies},
    )


def _ours(row: asyncpg.Record) -> OurOrder:
    return OurOrder(
        id=row["id"],
        tag=row["tag"],
        held=Held(row["account"], row["token"], row["product"]),
        side=Side(row["side"]),
        terms=Terms(row["order_type"], row["quantity"], row["price"] or Decimal(0), row["trigger_price"] or Decimal(0)),
        status=OrderStatus(row["status"]),
        reason=row["status_reason"],
        broker_order_id=row["broker_order_id"],
        filled=row["filled_quantity"],
        is_ours=row["origin"] == OrderOrigin.SAUDA,
        unsent=row["unsent"],
    )


def _ledger_order(account: str, row: dict[str, Any]) -> LedgerOrder:
    return LedgerOrder(
        order_id=row["order_id"],
        tag=row["tag"],
        held=Held(account, row["token"], row["product"]),
        side=Side(row["side"]),
        terms=Terms(row["order_type"], row["quantity"], Decimal(row["price"]), Decimal(row["trigger_price"])),
        filled=row["filled"],
        status=row["status"],
        received_at=datetime.fromisoformat(row["received_at"]),
    )


def _ledger_trade(account: str, row: dict[str, Any]) -> Trade:
    return Trade(
        account, row["order_id"], row["trade_id"], row["quantity"], Decimal(row["price"]), Decimal(row["fees"])
    )
