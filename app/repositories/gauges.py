"""Counts of what is open, read when somebody asks: all by indexes that hold open rows only."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.commands import OPEN_STATES
from app.core.orders import TERMINAL_STATUSES, OrderStatus

_OPEN_STATUSES = sorted(set(OrderStatus) - TERMINAL_STATUSES)
_ORDERS = text("""
SELECT status, count(*) AS n FROM orders
WHERE status IN ('PENDING', 'SUBMITTING', 'PLACED', 'PARTIALLY_FILLED', 'UNKNOWN') GROUP BY status
""")
_COMMANDS = text("""
SELECT state, count(*) AS n FROM (
  SELECT state FROM order_commands WHERE state = 'PENDING'
  UNION ALL SELECT state FROM order_commands WHERE state = 'SUBMITTING'
  UNION ALL SELECT state FROM order_commands WHERE state IN ('UNKNOWN', 'HELD', 'PARKED')
) c GROUP BY state
""")
_ALERTS = text("SELECT kind, count(*) AS n FROM alerts WHERE closed_at IS NULL GROUP BY kind")


class GaugeRepository:
    """SQL that counts open rows."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def open_orders(self) -> dict[str, int]:
        """Return the number of orders in each status that is not an end."""
        counted = {row.status: row.n for row in await self._connection.execute(_ORDERS)}
        return {status.value: counted.get(status.value, 0) for status in _OPEN_STATUSES}

    async def open_commands(self) -> dict[str, int]:
        """Return the number of commands in each state but DONE."""
        counted = {row.state: row.n for row in await self._connection.execute(_COMMANDS)}
        return {state.value: counted.get(state.value, 0) for state in sorted(OPEN_STATES)}

    async def open_alerts(self) -> dict[str, int]:
        """Return the number of open alerts of each kind that has any."""
        return {row.kind: row.n for row in await self._connection.execute(_ALERTS)}
