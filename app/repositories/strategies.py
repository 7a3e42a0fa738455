"""Strategies and their signals."""

import json
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import RowMapping, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.signals import Signal
from app.models import MarketClockRow, SignalRow, StrategyRow


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStrategy:
    """A strategy: its kind and parameters, what it trades where, and the last step that it has worked through."""

    id: UUID
    account_id: UUID
    name: str
    kind: str
    parameters: dict[str, str]
    instrument_id: UUID
    source: str
    run: str
    step_done: int


_ADD_SIGNAL = text("""
INSERT INTO signals (id, strategy_id, instrument_id, market_time, kind, side, quantity, reason, trace,
  client_order_id, refusal)
VALUES (:id, :strategy_id, :instrument_id, :market_time, :kind, :side, :quantity, :reason, CAST(:trace AS jsonb),
  :client_order_id, :refusal)
ON CONFLICT (strategy_id, client_order_id) DO NOTHING
""")
_STEP_DONE = text("""
UPDATE strategies SET step_done = :step WHERE source = :source AND enabled AND step_done < :step
""")

_OPEN_QUANTITIES = text("""
SELECT strategy_id,
  coalesce(sum(quantity - filled_quantity) FILTER (WHERE side = 'BUY'), 0) AS buy,
  coalesce(sum(quantity - filled_quantity) FILTER (WHERE side = 'SELL'), 0) AS sell
FROM orders
WHERE strategy_id = ANY(CAST(:ids AS uuid[]))
  AND status IN ('PENDING', 'SUBMITTING', 'PLACED', 'PARTIALLY_FILLED', 'UNKNOWN')
GROUP BY strategy_id
""")


class StrategyRepository:
    """SQL of the strategies and signals tables."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, strategy: StoredStrategy) -> None:
        """Insert an enabled strategy."""
        await self._connection.execute(
            insert(StrategyRow).values(
                id=strategy.id,
                account_id=strategy.account_id,
                name=strategy.name,
                kind=strategy.kind,
                parameters=strategy.parameters,
                instrument_id=strategy.instrument_id,
                source=strategy.source,
                run=strategy.run,
                enabled=True,
                step_done=strategy.step_done,
            )
        )

    async def due(self) -> list[StoredStrategy]:
        """Return the enabled strategies whose source has a newer step than they have done, by source and name."""
        query = (
            select(StrategyRow.__table__)
            .join(MarketClockRow, MarketClockRow.source == StrategyRow.source)
            .where(StrategyRow.enabled, StrategyRow.step_done < MarketClockRow.step)
            .order_by(StrategyRow.source, StrategyRow.name)
        )
        return [_strategy(row) for row in (await self._connection.execute(query)).mappings()]

    async def disable_source(self, source: str) -> None:
        """Switch off the strategies of a source that has ended."""
        await self._connection.execute(
            text("UPDATE strategies SET enabled = false WHERE source = :source"), {"source": source}
        )

    async def add_signal(
        self, signal_id: UUID, strategy_id: UUID, signal: Signal, *, client_order_id: str, refusal: str | None
    ) -> None:
        """Store a signal; the same decision made twice is stored once."""
        await self._connection.execute(
            _ADD_SIGNAL,
            {
                "id": signal_id,
                "strategy_id": strategy_id,
                "instrument_id": signal.instrument_id,
                "market_time": signal.at,
                "kind": signal.kind.value,
                "side": signal.side.value,
                "quantity": signal.quantity,
                "reason": signal.reason,
                "trace": json.dumps({key: str(value) for key, value in signal.trace.items()}),
                "client_order_id": client_order_id,
                "refusal": refusal,
            },
        )

    async def open_quantities(self, strategy_ids: list[UUID]) -> dict[UUID, tuple[int, int]]:
        """Return units that each strategy's orders may still buy and sell; unknown orders count as open."""
        rows = await self._connection.execute(_OPEN_QUANTITIES, {"ids": strategy_ids})
        return {row.strategy_id: (int(row.buy), int(row.sell)) for row in rows}

    async def mark_step_done(self, source: str, step: int) -> None:
        """Store that all strategies of a source have worked through a step."""
        await self._connection.execute(_STEP_DONE, {"source": source, "step": step})

    async def count_signals(self, account_id: UUID) -> int:
        """Return how many signals an account's strategies have given."""
        query = (
            select(func.count())
            .select_from(SignalRow)
            .join(StrategyRow, StrategyRow.id == SignalRow.strategy_id)
            .where(StrategyRow.account_id == account_id)
        )
        return (await self._connection.execute(query)).scalar_one()


def _strategy(row: RowMapping) -> StoredStrategy:
    return StoredStrategy(
        id=row["id"],
        account_id=row["account_id"],
        name=row["name"],
        kind=row["kind"],
        parameters=row["parameters"],
        instrument_id=row["instrument_id"],
        source=row["source"],
        run=row["run"],
        step_done=row["step_done"],
    )
