"""The live shell around the runners: wakes on market steps, reads the truth from PostgreSQL, hands orders on."""

import asyncio
import hashlib
from collections import defaultdict
from uuid import UUID

from app.core.errors import InvalidOrder
from app.core.orders import OrderType, Product
from app.core.positions import Position
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
        async with self._uow.transaction() as tx:
            strategies = await tx.strategies.enabled()
            clocks = {step.source: step for step in await tx.market.clocks()}
        by_source: dict[str, list[StoredStrategy]] = defaultdict(list)
        for strategy in strategies:
            step = clocks.get(strategy.source)
            if step is not None and strategy.step_done < step.step:
                by_source[strategy.source].append(strategy)
        for source, due in by_source.items():
            await self._work_through(clocks[source], due, lease)
        self._forget(strategies)
        return bool(by_source)

    async def _work_through(self, step: MarketStep, strategies: list[StoredStrategy], lease: Lease) -> None:
        holdings = await self._holdings(strategies)
        decided: list[tuple[StoredStrategy, SizedSignal, str | None]] = []
        for strategy in strategies:
            runner = await self._runner(strategy)
            async with self._uow.statement() as tx:
                bars = await tx.market.bars(
                    step.source, instrument_id=strategy.instrument_id, after=runner.last_bar
                )
            for sized in runner.step(
                at=step.market_time, bars=bars, ticks=step.ticks, holding=holdings[strategy.id]
            ):
                decided.append((strategy, sized, await self._place(strategy, sized)))
        async with self._uow.fenced(lease) as tx:
            for strategy, sized, refusal in decided:
                await tx.strategies.add_signal(
                    new_id(), strategy.id, sized.signal, client_order_id=sized.client_order_id, refusal=refusal
                )
            await tx.strategies.mark_step_done(step.source, step.step)
        await self._bell.ring(Channel.PROGRESS)

    async def _holdings(self, strategies: list[StoredStrategy]) -> dict[UUID, Holding]:
        ids = [strategy.id for strategy in strategies]
        async with self._uow.transaction() as tx:
            positions = await tx.positions.of_strategies(ids)
            open_orders = await tx.strategies.open_quantities(ids)
        return {
            strategy_id: Holding(
                position=positions.get(strategy_id, Position()),
                open_buy=open_orders.get(strategy_id, (0, 0))[0],
                open_sell=open_orders.get(strategy_id, (0, 0))[1],
            )
            for strategy_id in ids
        }

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
                build_strategy(
                    strategy.kind, instrument_id=strategy.instrument_id, parameters=strategy.parameters
                ),
                run=strategy.run,
                name=strategy.name,
                instrument=instrument.key if instrument else str(strategy.instrument_id),
            )
            self._runners[strategy.id] = runner
        return runner

    def _forget(self, enabled: list[StoredStrategy]) -> None:
        ids = {strategy.id for strategy in enabled}
        for gone in set(self._runners) - ids:
            del self._runners[gone]
