"""Cancelling and changing orders: decided under the order's lock, saved with its answer, then the bell is rung."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from uuid import UUID

from app.core.commands import CommandKind, CommandState
from app.core.errors import InvalidOrder, OrderRefused
from app.core.instruments import Exchange, Instrument
from app.core.order_changes import CancelStep, Wanted, cancel_step, new_terms
from app.core.orders import Order, OrderStatus, Purpose, Urgency
from app.core.ports import Clock, Doorbell, Ring
from app.infra.ids import new_id
from app.repositories.idempotency import StoredAnswer
from app.repositories.order_changes import CancelFilter, LockedChanges, NewChange
from app.repositories.unit_of_work import Transaction, UnitOfWork
from app.services.account_directory import AccountDirectory
from app.services.change_answers import (
    Asked,
    Cancelled,
    CancelManyAnswer,
    ChangeAnswer,
    ChangeResult,
    cancel_many_answer,
    change_answer,
    state_of,
    stored_answer,
)
from app.services.instrument_manager import InstrumentManager
from app.services.order_admission import admit_raise
from app.services.orders import IdempotencyConflict

CANCEL_MANY_MAX = 500
CANCEL_BATCH = 50
"""Orders that one transaction of a bulk cancel locks: workers must not wait long for theirs."""


class UnknownOrder(LookupError):
    """There is no order of this id."""


class OrderChangeService:
    """Takes wishes to cancel and change orders from the API and from strategies."""

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        instruments: InstrumentManager,
        accounts: AccountDirectory,
        doorbell: Doorbell,
        clock: Clock,
    ) -> None:
        self._uow = uow
        self._instruments = instruments
        self._accounts = accounts
        self._doorbell = doorbell
        self._clock = clock

    async def cancel(self, order_id: UUID, asked: Asked) -> ChangeAnswer:
        """Cancel an order, or return the answer that this caller's key got before.

        Raises `UnknownOrder`, and `IdempotencyConflict` for a key that was used for something else.
        """
        return await self._answered(order_id, None, asked)

    async def modify(self, order_id: UUID, wanted: Wanted, asked: Asked) -> ChangeAnswer:
        """Change an order's terms, or return the answer that this caller's key got before.

        Raises `InvalidOrder` for terms that can never be right (nothing is stored), `UnknownOrder`, and
        `IdempotencyConflict` for a key that was used for something else.
        """
        if wanted == Wanted():
            raise InvalidOrder(field="body", code="nothing_to_change", message="name at least one term to change")
        return await self._answered(order_id, wanted, asked)

    async def cancel_many(self, wanted: CancelFilter, *, account: str, asked: Asked) -> CancelManyAnswer:
        """Cancel all orders that fit, oldest first, at most `CANCEL_MANY_MAX`.

        Repeating it after a crash is harmless: what is cancelled or under way is not cancelled again. Raises
        `IdempotencyConflict`.
        """
        async with self._uow.statement() as tx:
            before = await _given(tx, asked)
            found = [] if before else await tx.changes.cancellable(wanted, limit=CANCEL_MANY_MAX + 1)
        if before is not None:
            return cancel_many_answer(before)
        for instrument_id in {one.instrument_id for one in found}:
            await self._get_to_know(wanted.account_id, instrument_id)
        ids = [one.order_id for one in found]
        results: list[Cancelled] = []
        for start in range(0, min(len(ids), CANCEL_MANY_MAX), CANCEL_BATCH):
            results += await self._cancel_batch(ids[start : min(start + CANCEL_BATCH, CANCEL_MANY_MAX)], asked.caller)
        answer = CancelManyAnswer(account=account, results=tuple(results), more=len(ids) > CANCEL_MANY_MAX)
        async with self._uow.statement() as tx:
            if await tx.idempotency.add(stored_answer(asked, answer)):
                return answer
            before = await _given(tx, asked)
        if before is None:
            raise IdempotencyConflict(asked.key)
        return cancel_many_answer(before)

    async def _cancel_batch(self, order_ids: Sequence[UUID], caller: str) -> list[Cancelled]:
        rings: list[Ring] = []
        results: list[Cancelled] = []
        async with self._uow.transaction() as tx:
            for locked in await tx.changes.lock(order_ids):
                instrument = await self._instrument(locked.order)
                result, ring = await self._cancel(tx, locked, instrument, caller)
                status = OrderStatus.CANCELLED if result is ChangeResult.CANCELLED else locked.order.status
                results.append(Cancelled(order_id=locked.order.id, result=result, status=status))
                rings += [ring] if ring else []
        if rings:
            await self._doorbell.ring(rings)
        return results

    async def _answered(self, order_id: UUID, wanted: Wanted | None, asked: Asked) -> ChangeAnswer:
        async with self._uow.statement() as tx:
            seen = await tx.orders.get(order_id)
        if seen is not None:
            await self._get_to_know(seen.intent.account_id, seen.intent.instrument_id)
        async with self._uow.transaction() as tx:
            locked = await tx.changes.lock([order_id])
            before = await _given(tx, asked)
            if before is not None:
                return change_answer(before)
            if not locked:
                raise UnknownOrder(str(order_id))
            answer, ring = await self._decided(tx, locked[0], wanted, asked)
            if not await tx.idempotency.add(stored_answer(asked, answer)):
                # The key was used for another order at this very moment: nothing of this one is kept.
                raise IdempotencyConflict(asked.key)
        if ring is not None:
            await self._doorbell.ring([ring])
        return answer

    async def _decided(
        self, tx: Transaction, locked: LockedChanges, wanted: Wanted | None, asked: Asked
    ) -> tuple[ChangeAnswer, Ring | None]:
        account = await self._accounts.by_id(locked.order.intent.account_id)
        state = state_of(locked.order, account=account.name if account else str(locked.order.intent.account_id))
        try:
            if wanted is None:
                return await self._cancel_one(tx, locked, state, asked)
            return await self._modify_one(tx, locked, state, wanted, asked)
        except OrderRefused as refusal:
            return replace(state, refusal_code=refusal.code, refusal_message=refusal.message), None

    async def _cancel_one(
        self, tx: Transaction, locked: LockedChanges, state: ChangeAnswer, asked: Asked
    ) -> tuple[ChangeAnswer, Ring | None]:
        _check_account(state, asked)
        instrument = await self._instrument(locked.order)
        result, ring = await self._cancel(tx, locked, instrument, asked.caller)
        if result is ChangeResult.ALREADY_OVER:
            raise OrderRefused(code="order_over", message=f"the order is {state.status}: it cannot be cancelled")
        status = OrderStatus.CANCELLED if result is ChangeResult.CANCELLED else state.status
        return replace(state, result=result, status=status), ring

    async def _modify_one(
        self, tx: Transaction, locked: LockedChanges, state: ChangeAnswer, wanted: Wanted, asked: Asked
    ) -> tuple[ChangeAnswer, Ring | None]:
        _check_account(state, asked)
        order = locked.order
        instrument = await self._instrument(order)
        terms = new_terms(order, wanted, instrument=instrument, changes=locked.changes)
        if order.status is OrderStatus.PENDING:
            await tx.changes.change_unsent(order.id, terms, actor=asked.caller)
            return replace(state, result=ChangeResult.MODIFIED, **asdict(terms)), None
        if order.intent.purpose is Purpose.ENTRY and terms.quantity > order.intent.quantity:
            admit_raise(await tx.accounts.now(order.intent.account_id))
        change = NewChange(
            command_id=new_id(), order=order, urgency=order.intent.urgency, actor=asked.caller, terms=terms
        )
        await tx.changes.store(change)
        return replace(state, result=ChangeResult.MODIFY_SENT), self._ring(change, instrument.exchange)

    async def _cancel(
        self, tx: Transaction, locked: LockedChanges, instrument: Instrument, caller: str
    ) -> tuple[ChangeResult, Ring | None]:
        order = locked.order
        match cancel_step(order.status, locked.changes):
            case CancelStep.OVER:
                return ChangeResult.ALREADY_OVER, None
            case CancelStep.UNDER_WAY:
                held = locked.changes[CommandKind.CANCEL] is CommandState.HELD
                return ChangeResult.HELD if held else ChangeResult.CANCEL_SENT, None
            case CancelStep.END_UNSENT:
                await tx.changes.end_unsent(order.id, actor=caller)
                return ChangeResult.CANCELLED, None
            case CancelStep.HOLD:
                await tx.changes.store(self._change(order, caller, state=CommandState.HELD))
                return ChangeResult.HELD, None
            case CancelStep.SEND:
                change = self._change(order, caller)
                await tx.changes.store(change)
                return ChangeResult.CANCEL_SENT, self._ring(change, instrument.exchange)

    def _change(self, order: Order, caller: str, *, state: CommandState = CommandState.PENDING) -> NewChange:
        urgency = max(order.intent.urgency, Urgency.HIGH, key=lambda one: one.band)
        return NewChange(command_id=new_id(), order=order, urgency=urgency, actor=caller, state=state)

    def _ring(self, change: NewChange, exchange: Exchange) -> Ring:
        return Ring(
            command_id=change.command_id,
            account_id=change.order.intent.account_id,
            urgency=change.urgency,
            exchange=exchange,
            enqueued_at=self._clock.now(),
        )

    async def _get_to_know(self, account_id: UUID, instrument_id: UUID) -> None:
        """Have both at hand before orders are locked: looking them up may take a connection of its own."""
        await self._accounts.by_id(account_id)
        if await self._instruments.by_id(instrument_id) is None:
            await self._instruments.load()

    async def _instrument(self, order: Order) -> Instrument:
        found = await self._instruments.by_id(order.intent.instrument_id)
        if found is None:
            raise LookupError(f"instrument {order.intent.instrument_id} is referred to but not there")
        return found


def _check_account(state: ChangeAnswer, asked: Asked) -> None:
    if asked.account is not None and asked.account != state.account:
        raise OrderRefused(code="wrong_account", message=f"the order is not one of the account {asked.account!r}")


async def _given(tx: Transaction, asked: Asked) -> StoredAnswer | None:
    stored = await tx.idempotency.find(caller=asked.caller, key=asked.key)
    if stored is not None and stored.body_hash != asked.body_hash:
        raise IdempotencyConflict(asked.key)
    return stored
