"""Instruments by the names that people use, kept in memory and read again when a name is not known."""

import time
from uuid import UUID

from app.core.instruments import BrokerSymbol, Instrument
from app.repositories.unit_of_work import UnitOfWork

REREAD_AFTER_S = 1.0
"""An unknown name makes us look again, but not more often: a flood of wrong names must not flood the database."""


class InstrumentManager:
    """Looks instruments up. Their facts change rarely; a process that adds some reloads."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._by_key: dict[str, Instrument] = {}
        self._by_id: dict[UUID, Instrument] = {}
        self._symbols: dict[tuple[str, UUID], BrokerSymbol] = {}
        self._read_at = float("-inf")

    async def load(self) -> None:
        """Read all instruments and symbols."""
        async with self._uow.transaction() as tx:
            instruments = await tx.instruments.all()
            symbols = await tx.instruments.symbols()
        self._by_key = {instrument.key: instrument for instrument in instruments}
        self._by_id = {instrument.id: instrument for instrument in instruments}
        self._symbols = {(symbol.broker, symbol.instrument_id): symbol for symbol in symbols}
        self._read_at = time.monotonic()

    async def by_key(self, key: str) -> Instrument | None:
        """Return the instrument that people call `NSE:YESBANK`."""
        if key not in self._by_key:
            await self._reload()
        return self._by_key.get(key)

    async def by_id(self, instrument_id: UUID) -> Instrument | None:
        """Return an instrument by its id."""
        if instrument_id not in self._by_id:
            await self._reload()
        return self._by_id.get(instrument_id)

    async def symbol(self, broker: str, instrument_id: UUID) -> BrokerSymbol | None:
        """Return an instrument's symbol at a broker."""
        if (broker, instrument_id) not in self._symbols:
            await self._reload()
        return self._symbols.get((broker, instrument_id))

    async def _reload(self) -> None:
        if time.monotonic() - self._read_at > REREAD_AFTER_S:
            await self.load()
