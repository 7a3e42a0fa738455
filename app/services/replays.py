"""Asking for a replay, and the figures that it ends with."""

import secrets
from datetime import date
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from app.core.replays import ReplayState
from app.infra.events import Channel, EventBell
from app.infra.ids import new_id
from app.market_data.paper_market import LedgerSummary, PaperMarket
from app.repositories.replays import Replay
from app.repositories.strategies import StoredStrategy
from app.repositories.unit_of_work import Transaction, UnitOfWork
from app.services.paper_accounts import PaperAccounts

STRATEGY_KIND = "ema_crossover"
DEMO_STRATEGIES = (
    ("ema-yesbank", "YESBANK", {"fast": "5", "slow": "20", "quantity": "100", "stop_percent": "0.4"}),
    ("ema-juniorbees", "JUNIORBEES", {"fast": "5", "slow": "20", "quantity": "10", "stop_percent": "0.4"}),
)
"""What trades on a replayed day: name, symbol and parameters."""

REPLAY_ORDERS_PER_SECOND = 1000
"""A fast replay squeezes a day into seconds: a budget by the wall clock would only hold it up."""


class ReplayFigures(NamedTuple):
    """What a replay comes to; money in rupees, before fees where it says P&L."""

    bars: int
    signals: int
    orders: int
    fills: int
    rejected: int
    unknown: int
    open_positions: int
    realized_pnl: Decimal
    fees: Decimal
    p50_order_ms: Decimal | None
    p99_order_ms: Decimal | None


class ReplayService:
    """Requests replays and reads their figures. Each gets a paper account of its own."""

    def __init__(self, *, uow: UnitOfWork, accounts: PaperAccounts, market: PaperMarket, bell: EventBell) -> None:
        self._uow = uow
        self._accounts = accounts
        self._market = market
        self._bell = bell

    async def request(self, day: date, *, speed: Decimal) -> Replay:
        """Ask the feed to play a day; the strategies of the demo trade on it.

        There is one market to play on, so a replay that is still open is given up for the new one.
        """
        name = f"replay-{day.isoformat()}-{secrets.token_hex(3)}"
        async with self._uow.transaction() as tx:
            for older in await tx.replays.open():
                await end_replay(tx, older, error="given up for a newer replay")
            account = await self._accounts.add(
                tx, name=name, market_source=name, orders_per_second=REPLAY_ORDERS_PER_SECOND
            )
            await self._add_strategies(tx, account_id=account.id, source=name, day=day)
            replay = Replay(
                id=new_id(),
                account_id=account.id,
                source=name,
                day=day,
                speed=speed,
                state=ReplayState.REQUESTED,
                bars_done=0,
                bars_total=0,
                error=None,
                started_at=None,
                finished_at=None,
            )
            await tx.replays.request(replay)
        await self._bell.ring(Channel.REPLAYS)
        return replay

    async def get(self, replay_id: UUID) -> Replay:
        """Return a replay as it stands; raises `LookupError`."""
        async with self._uow.statement() as tx:
            replay = await tx.replays.get(replay_id)
        if replay is None:
            raise LookupError(f"there is no replay {replay_id}")
        return replay

    async def figures(self, replay: Replay) -> ReplayFigures:
        """Return what our own books say."""
        async with self._uow.transaction() as tx:
            orders = await tx.replays.figures(replay.account_id)
            totals = await tx.positions.totals(replay.account_id)
            return ReplayFigures(
                bars=await tx.market.count_bars(replay.source),
                signals=await tx.strategies.count_signals(replay.account_id),
                orders=orders.orders,
                fills=await tx.fills.count(replay.account_id),
                rejected=orders.rejected,
                unknown=orders.unknown,
                open_positions=totals.open_positions,
                realized_pnl=totals.realized_pnl.quantize(Decimal("0.01")),
                fees=totals.fees.quantize(Decimal("0.01")),
                p50_order_ms=orders.p50_ms,
                p99_order_ms=orders.p99_ms,
            )

    async def ledger(self, replay: Replay) -> LedgerSummary:
        """Return what the exchange's own ledger says. Raises `PaperMarketError`."""
        async with self._uow.statement() as tx:
            stored = await tx.accounts.stored(replay.account_id)
        if stored is None:
            raise LookupError("the replay's account is not there any more")
        return await self._market.summary(stored.account.client_code)

    async def _add_strategies(self, tx: Transaction, *, account_id: UUID, source: str, day: date) -> None:
        by_symbol = {instrument.symbol: instrument for instrument in await tx.instruments.all()}
        for name, symbol, parameters in DEMO_STRATEGIES:
            if symbol not in by_symbol:
                continue
            await tx.strategies.add(
                StoredStrategy(
                    id=new_id(),
                    account_id=account_id,
                    name=name,
                    kind=STRATEGY_KIND,
                    parameters=parameters,
                    instrument_id=by_symbol[symbol].id,
                    source=source,
                    # Not the account: two replays of a day must give the same order ids and tags.
                    run=f"replay-{day.isoformat()}",
                    step_done=0,
                )
            )


async def end_replay(tx: Transaction, replay: Replay, *, error: str | None) -> None:
    """Store the end of a replay: its strategies and its account rest from now on."""
    await tx.strategies.disable_source(replay.source)
    await tx.accounts.pause(replay.account_id)
    await tx.replays.finish(replay.id, error=error)


def differences(figures: ReplayFigures, ledger: LedgerSummary) -> list[str]:
    """Return where our books and the exchange's ledger do not say the same; empty when they agree."""
    pairs = (
        ("fills", figures.fills, ledger.trades),
        ("realized_pnl", figures.realized_pnl, ledger.realized_pnl.quantize(Decimal("0.01"))),
        ("fees", figures.fees, ledger.fees.quantize(Decimal("0.01"))),
    )
    return [f"{name}: {ours} here, {theirs} at the exchange" for name, ours, theirs in pairs if ours != theirs]
