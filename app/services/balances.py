"""Balances from our own ledger: cash, realised and unrealised P&L and fees, per account and per strategy."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from app.core.balances import (
    LastPrice,
    PriceDoubt,
    Totals,
    cash_of,
    summed,
    unrealized_pnl,
    usable_price,
)
from app.market_data.last_prices import LastPrices
from app.repositories.balances import AccountLedger
from app.repositories.positions import HeldPosition
from app.repositories.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """P&L of some positions in rupees; `unrealized_pnl` is a doubt where a price is missing or stale."""

    realized_pnl: Decimal
    unrealized_pnl: Decimal | PriceDoubt
    fees: Decimal
    open_positions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountBalance:
    """An account's figures. `cash` is None until a live account's first reading opens its ledger.

    `strategies` holds the figures of each strategy; None is what people trade by hand, here or elsewhere.
    """

    ledger: AccountLedger
    cash: Decimal | None
    figures: Figures
    strategies: Mapping[UUID | None, Figures]

    @property
    def difference(self) -> Decimal | None:
        """The broker's cash less ours, in rupees; None where either is not known."""
        if self.cash is None or self.ledger.broker_cash is None:
            return None
        return self.ledger.broker_cash - self.cash


@dataclass(frozen=True, slots=True, kw_only=True)
class Valued:
    """A position at its last price."""

    last_price: Decimal | None
    unrealized_pnl: Decimal | PriceDoubt


class Balances:
    """Reads figures; it changes nothing."""

    def __init__(self, *, uow: UnitOfWork, prices: LastPrices) -> None:
        self._uow = uow
        self._prices = prices

    async def page(
        self, *, account_id: UUID | None = None, after: str | None = None, limit: int = 1
    ) -> list[AccountBalance]:
        """Return accounts' balances by name."""
        async with self._uow.statement() as tx:
            ledgers = await tx.balances.ledgers(account_id=account_id, after=after, limit=limit)
            held = await tx.positions.of_accounts([ledger.account_id for ledger in ledgers])
        by_account: dict[UUID, list[HeldPosition]] = defaultdict(list)
        for one in held:
            by_account[one.key.account_id].append(one)
        return [await self._balance(ledger, by_account[ledger.account_id]) for ledger in ledgers]

    async def valued(self, held: Sequence[HeldPosition]) -> dict[UUID, Valued]:
        """Return positions at their last prices, by position id."""
        valued: dict[UUID, Valued] = {}
        for account_id in {one.key.account_id for one in held}:
            async with self._uow.statement() as tx:
                (ledger,) = await tx.balances.ledgers(account_id=account_id, limit=1)
            own = [one for one in held if one.key.account_id == account_id]
            last = await self._last_prices(ledger, own)
            for one in own:
                price = usable_price(last.get(one.key.instrument_id), market_time=ledger.market_time)
                valued[one.id] = Valued(
                    last_price=None if isinstance(price, PriceDoubt) else price, unrealized_pnl=_unrealized(one, price)
                )
        return valued

    async def _balance(self, ledger: AccountLedger, held: list[HeldPosition]) -> AccountBalance:
        last = await self._last_prices(ledger, held)
        by_strategy: dict[UUID | None, list[HeldPosition]] = defaultdict(list)
        for one in held:
            by_strategy[one.key.strategy_id].append(one)
        totals = totals_of(held)
        return AccountBalance(
            ledger=ledger,
            cash=cash_of(ledger.opening, totals) if ledger.opening else None,
            figures=_figures(held, last, ledger.market_time),
            strategies={key: _figures(own, last, ledger.market_time) for key, own in by_strategy.items()},
        )

    async def _last_prices(self, ledger: AccountLedger, held: Sequence[HeldPosition]) -> dict[UUID, LastPrice]:
        wanted = {(one.key.instrument_id) for one in held if one.position.quantity}
        return await self._prices.read(ledger.market_source, sorted(wanted))


def totals_of(held: Sequence[HeldPosition]) -> Totals:
    """Return the sums over positions."""
    totals = Totals()
    for one in held:
        totals += Totals(
            realized_pnl=one.position.realized_pnl, open_cost=one.position.open_cost, fees=one.position.fees
        )
    return totals


def _figures(held: Sequence[HeldPosition], last: Mapping[UUID, LastPrice], market_time: datetime | None) -> Figures:
    totals = totals_of(held)
    unrealized = [
        _unrealized(one, usable_price(last.get(one.key.instrument_id), market_time=market_time)) for one in held
    ]
    return Figures(
        realized_pnl=totals.realized_pnl,
        unrealized_pnl=summed(unrealized),
        fees=totals.fees,
        open_positions=sum(1 for one in held if one.position.quantity),
    )


def _unrealized(held: HeldPosition, price: Decimal | PriceDoubt) -> Decimal | PriceDoubt:
    return unrealized_pnl(quantity=held.position.quantity, open_cost=held.position.open_cost, price=price)
