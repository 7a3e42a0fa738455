"""The live shell around the runners: wakes on market steps, reads the truth from PostgreSQL, hands orders on."""

import asyncio
import hashlib
from collections import defaultdict
from uuid import UUID

from app.core.bars import Bar
from app.core.errors import InvalidOrder
from app.core.orders import OrderType, Product, Purpose
from app.core.positions import Position
from app.core.signals import SignalKind
from app.engine.runner import SizedSignal, StrategyRunner
from app.infra.events import Channel, EventBell, wait_or_timeout
from app.infra.ids import new_id
from app.infra.logging import get_logger
from app.repositories.leases import Lease
from app.repositories.market import MarketStep
from app.repositories.strategies import StoredStrategy
from app.repositories.unit_of_work import UnitOfWork
from app.services.account_directory import AccountDirectory
from app.services.instrument_manager import InstrumentManager
from app.services.orders import IdempotencyConflict, OrderRequest, OrderService
from app.strategies.base_strategy import Holding
from app.strategies.registry import build_strategy

SAFETY_PASS_S = 1.0
"""Wake-ups can be lost; the market clock in the database cannot."""

RUNNERS_MAX = 1000

log = get_logger(__name__)


class Scheduler:
    """Runs every enabled strategy on every new step of its source. One is active; a second would change nothing."""

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        orders: OrderService,
        accounts: AccountDirectory,
        instruments: InstrumentManager,
        bell: EventBell,
        wake: asyncio.Event,
    ) -> None:
        self._uow = uow
        self._orders = orders
        self._accounts = accounts
        self._instruments = instruments
        self._bell = bell
        self._wake = wake
        self._runners: dict[UUID, StrategyRunner] = {}

    async def lead(self, lease: Lease, over: asyncio.Event) -> None:
        """Work through market steps until `over`. A fresh leader starts its runners from the stored bars."""
        self._runners.clear()
        while not over.is_set():
            while await self._turn(lease):
                continue
            await wait_or_timeout(self._wake, SAFETY_PASS_S)

    async def _turn(self, lease: Lease) -> bool:
        """Work through at most one step of each source; true when there was one."""
        async with self._uow.statement() as tx:
            due = await tx.strategies.due()
        by_source: dict[str, list[StoredStrategy]] = defaultdict(list)
        for strategy in due:
            by_source[strategy.source].append(strategy)
        for source, strategies in by_source.items():
            await self._work_through(source, strategies, lease)
        return bool(by_source)

    async def _work_through(self, source: str, strategies: list[StoredStrategy], lease: Lease) -> None:
        runners = {strategy.id: await self._runner(strategy) for strategy in strategies}
        step, bars, holdings = await self._read_market(source, strategies, runners)
        decided: list[tuple[StoredStrategy, SizedSignal, str | None]] = []
        for strategy in strategies:
            runner = runners[strategy.id]
            own = [
                bar
                for bar in bars
                if bar.instrument_id == strategy.instrument_id
                and (runner.last_bar is None or bar.start > runner.last_bar)
            ]
            decisions = runner.step(at=step.market_time, bars=own, ticks=step.ticks, holding=holdings[strategy.id])
            decided += [(strategy, sized, await self._place(strategy, sized)) for sized in decisions]
        async with self._uow.fenced(lease) as tx:
            for strategy, sized, refusal in decided:
                await tx.strategies.add_signal(
                    new_id(), strategy.id, sized.signal, client_order_id=sized.client_order_id, refusal=refusal
                )
            await tx.strategies.mark_step_done(step.source, step.step)
        await self._bell.ring(Channel.PROGRESS)

    async def _read_market(
        self, source: str, strategies: list[StoredStrategy], runners: dict[UUID, StrategyRunner]
    ) -> tuple[MarketStep, list[Bar], dict[UUID, Holding]]:
        """Return the newest step, the bars that some runner has not seen, and what each strategy holds."""
        ids = [strategy.id for strategy in strategies]
        seen = [runner.last_bar for runner in runners.values()]
        known = [moment for moment in seen if moment is not None]
        async with self._uow.statement() as tx:
            step = await tx.market.clock(source)
            bars = await tx.market.bars(
                source,
                instrument_ids=[strategy.instrument_id for strategy in strategies],
                after=min(known) if len(known) == len(seen) else None,
            )
            positions = await tx.positions.of_strategies(ids)
            open_orders = await tx.strategies.open_quantities(ids)
        if step is None:
            raise LookupError(f"the source {source!r} has strategies that are due, but no time")
        holdings = {
            strategy_id: Holding(
                position=positions.get(strategy_id, Position()),
                open_buy=open_orders.get(strategy_id, (0, 0))[0],
                open_sell=open_orders.get(strategy_id, (0, 0))[1],
            )
            for strategy_id in ids
        }
        return step, bars, holdings

    async def _place(self, strategy: StoredStrategy, sized: SizedSignal) -> str | None:
        """Hand an order on; returns why it was refused, or None. The deterministic id makes a repeat harmless."""
        account = await self._accounts.by_id(strategy.account_id)
        instrument = await self._instruments.by_id(strategy.instrument_id)
        if account is None or instrument is None:
            return "its account or instrument is not there any more"
        request = OrderRequest(
            account=account.name,
            instrument=instrument.key,
            side=sized.signal.side,
            quantity=sized.signal.quantity,
            order_type=OrderType.MARKET,
            product=Product.MIS,
            validity=sized.validity,
            urgency=sized.urgency,
            client_order_id=sized.client_order_id,
            strategy_id=strategy.id,
            purpose=Purpose.ENTRY if sized.signal.kind is SignalKind.ENTRY else Purpose.EXIT,
        )
        # The decision's identity, not its size: after a crash the same leg may be decided with another quantity.
        body_hash = hashlib.sha256(sized.client_order_id.encode()).digest()
        try:
            answer = await self._orders.place(
                request, caller=f"strategy:{strategy.id}", key=sized.client_order_id, body_hash=body_hash
            )
        except (InvalidOrder, IdempotencyConflict) as error:
            log.exception("scheduler.order.invalid", strategy=strategy.name)
            return str(error)
        if answer.refusal_code is not None:
            log.warning("scheduler.order.refused", strategy=strategy.name, code=answer.refusal_code)
        return answer.refusal_message

    async def _runner(self, strategy: StoredStrategy) -> StrategyRunner:
        runner = self._runners.get(strategy.id)
        if runner is None:
            instrument = await self._instruments.by_id(strategy.instrument_id)
            runner = StrategyRunner(
                build_strategy(strategy.kind, instrument_id=strategy.instrument_id, parameters=strategy.parameters),
                run=strategy.run,
                name=strategy.name,
                instrument=instrument.key if instrument else str(strategy.instrument_id),
            )
            if len(self._runners) >= RUNNERS_MAX:
                # Runners of strategies that are long over; a live one is made again from the stored bars.
                self._runners.clear()
            self._runners[strategy.id] = runner
        return runner
