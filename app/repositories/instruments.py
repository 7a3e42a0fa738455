"""Instruments and broker symbols."""

from uuid import UUID

from sqlalchemy import RowMapping, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.instruments import BrokerSymbol, Exchange, Instrument, InstrumentKind
from app.models import BrokerSymbolRow, InstrumentRow


class InstrumentRepository:
    """SQL of the instruments and broker_symbols tables."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> list[Instrument]:
        """Return every instrument."""
        rows = await self._connection.execute(select(InstrumentRow.__table__))
        return [_instrument(row) for row in rows.mappings()]

    async def symbols(self) -> list[BrokerSymbol]:
        """Return every broker's symbols."""
        rows = await self._connection.execute(select(BrokerSymbolRow.__table__))
        return [BrokerSymbol(**row) for row in rows.mappings()]

    async def upsert(self, instrument: Instrument) -> UUID:
        """Insert an instrument, or bring its facts up to date; returns the id that it has."""
        values = {
            "name": instrument.name,
            "kind": instrument.kind,
            "tick_size": instrument.tick_size,
            "lot_size": instrument.lot_size,
            "freeze_quantity": instrument.freeze_quantity,
        }
        statement = (
            insert(InstrumentRow)
            .values(id=instrument.id, exchange=instrument.exchange, symbol=instrument.symbol, **values)
            .on_conflict_do_update(index_elements=["exchange", "symbol"], set_=values)
            .returning(InstrumentRow.id)
        )
        return (await self._connection.execute(statement)).scalar_one()

    async def upsert_symbol(self, symbol: BrokerSymbol) -> None:
        """Insert or replace a broker's symbol of an instrument."""
        values = {"trading_symbol": symbol.trading_symbol, "token": symbol.token}
        await self._connection.execute(
            insert(BrokerSymbolRow)
            .values(broker=symbol.broker, instrument_id=symbol.instrument_id, **values)
            .on_conflict_do_update(index_elements=["broker", "instrument_id"], set_=values)
        )


def _instrument(row: RowMapping) -> Instrument:
    return Instrument(
        id=row["id"],
        exchange=Exchange(row["exchange"]),
        symbol=row["symbol"],
        name=row["name"],
        kind=InstrumentKind(row["kind"]),
        tick_size=row["tick_size"].normalize(),
        lot_size=row["lot_size"],
        freeze_quantity=row["freeze_quantity"],
    )
