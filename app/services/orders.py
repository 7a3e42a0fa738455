"""Taking an order: validated, saved with its answer in one transaction, then the bell is rung."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from app.core.accounts import Account
from app.core.errors import InvalidOrder, OrderRefused
from app.core.instruments import Instrument
from app.core.order_rules import check_intent
from app.core.orders import OrderIntent, OrderStatus, OrderType, Product, Purpose, Side, Urgency, Validity
from app.core.ports import Clock, Doorbell, Ring
from app.core.tags import client_order_id, order_tag
from app.infra.failpoints import Point, reach
from app.infra.ids import new_id
from app.repositories.idempotency import StoredAnswer
from app.repositories.orders import DuplicateClientOrderId, NewOrder
from app.repositories.unit_of_work import Transaction, UnitOfWork
from app.services.account_directory import AccountDirectory
from app.services.instrument_manager import InstrumentManager
from app.services.order_admission import admit, check_exit


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """An order as a person or strategy asks for it, by names. `deadline` is market time (UTC)."""

    account: str
    instrument: str
    side: Side
    quantity: int
    order_type: OrderType
    product: Product
    validity: Validity = Validity.DAY
    urgency: Urgency = Urgency.NORMAL
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    deadline: datetime | None = None
    client_order_id: str | None = None
    strategy_id: UUID | None = None
    purpose: Purpose = Purpose.ENTRY


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderAnswer:
    """The answer to an order request: an order id, or a refusal's code and message. `replayed`: given before."""

    order_id: UUID | None
    client_order_id: str
    account: str
    instrument: str
    status: OrderStatus | None
    tag: str | None
    received_at: datetime
    refusal_code: str | None = None
    refusal_message: str | None = None
    replayed: bool = False


class IdempotencyConflict(Exception):
    """The key was used before with another body."""


class OrderService:
    """Takes orders from the API and from strategies."""

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

    async def place(self, request: OrderRequest, *, caller: str, key: str, body_hash: bytes) -> OrderAnswer:
        """Save an order, or return the answer that this caller's key got before.

        Raises `InvalidOrder` for what can never be right (nothing is stored), `IdempotencyConflict` for a key that
        was used with another body. A refusal by the present state is an answer, and stored like any other.
        """
        received_at = self._clock.now()
        try:
            account, instrument = await self._look_up(request)
            intent = _intent(request, account=account, instrument=instrument, caller=caller, key=key)
            check_intent(intent, instrument)
        except InvalidOrder:
            # What was right when the key was used may be wrong by now: a tick has changed, an instrument is gone.
            given = await self._given_before(caller=caller, key=key, body_hash=body_hash)
            if given is None:
                raise
            return given
        ring = None
        try:
            async with self._work(intent) as tx:
                answer, ring = await self._save(
                    tx,
                    intent,
                    instrument=instrument,
                    request=request,
                    caller=caller,
                    key=key,
                    body_hash=body_hash,
                    received_at=received_at,
                )
        except DuplicateClientOrderId:
            async with self._uow.statement() as tx:
                answer = await self._refuse_duplicate(
                    tx, intent, request=request, caller=caller, key=key, body_hash=body_hash, received_at=received_at
                )
        reach(Point.API_AFTER_SAVE)
        if ring is not None:
            await self._doorbell.ring([ring])
        reach(Point.API_BEFORE_ANSWER)
        return answer

    @asynccontextmanager
    async def _work(self, intent: OrderIntent) -> AsyncIterator[Transaction]:
        """Open what an order is saved in.

        An entry's one statement saves all or nothing, so it is its own transaction: two round trips instead of four.
        Exits from the same position come one after the other, so that two of them cannot both reduce it.
        """
        if intent.purpose is Purpose.ENTRY:
            async with self._uow.statement() as tx:
                yield tx
            return
        async with self._uow.transaction() as tx:
            await tx.exits.lock(intent)
            yield tx

    async def _given_before(self, *, caller: str, key: str, body_hash: bytes) -> OrderAnswer | None:
        async with self._uow.statement() as tx:
            stored = await tx.idempotency.find(caller=caller, key=key)
        return _from_json(stored.response) if stored is not None and stored.body_hash == body_hash else None

    async def _look_up(self, request: OrderRequest) -> tuple[Account, Instrument]:
        account = await self._accounts.by_name(request.account)
        if account is None:
            raise InvalidOrder(
                field="account", code="unknown_account", message=f"there is no account {request.account!r}"
            )
        instrument = await self._instruments.by_key(request.instrument)
        if instrument is None:
            raise InvalidOrder(
                field="instrument",
                code="unknown_instrument",
                message=f"there is no instrument {request.instrument!r}; write it like NSE:YESBANK",
            )
        return account, instrument

    async def _save(
        self,
        tx: Transaction,
        intent: OrderIntent,
        *,
        instrument: Instrument,
        request: OrderRequest,
        caller: str,
        key: str,
        body_hash: bytes,
        received_at: datetime,
    ) -> tuple[OrderAnswer, Ring | None]:
        now = await tx.accounts.now(intent.account_id)
        try:
            market_time, trading_day = admit(intent, now)
            if intent.purpose is Purpose.EXIT:
                check_exit(intent, await tx.exits.reducible(intent))
        except OrderRefused as refusal:
            refused = _refused(intent, request, received_at=received_at, refusal=refusal)
            return await self._store_or_repeat(tx, refused, caller=caller, key=key, body_hash=body_hash), None
        order_id, command_id = new_id(), new_id()
        answer = OrderAnswer(
            order_id=order_id,
            client_order_id=intent.client_order_id,
            account=request.account,
            instrument=request.instrument,
            status=OrderStatus.PENDING,
            tag=order_tag(intent.client_order_id),
            received_at=received_at,
        )
        stored = StoredAnswer(caller=caller, key=key, body_hash=body_hash, response=_to_json(answer))
        fresh = await tx.orders.save(
            NewOrder(
                id=order_id,
                command_id=command_id,
                intent=intent,
                tag=order_tag(intent.client_order_id),
                trading_day=trading_day,
                market_time=market_time,
                received_at=received_at,
                answer=stored,
            )
        )
        if not fresh:
            return await self._repeat(tx, caller=caller, key=key, body_hash=body_hash), None
        ring = Ring(
            command_id=command_id,
            account_id=intent.account_id,
            urgency=intent.urgency,
            exchange=instrument.exchange,
            enqueued_at=received_at,
        )
        return answer, ring

    async def _refuse_duplicate(
        self,
        tx: Transaction,
        intent: OrderIntent,
        *,
        request: OrderRequest,
        caller: str,
        key: str,
        body_hash: bytes,
        received_at: datetime,
    ) -> OrderAnswer:
        refusal = OrderRefused(
            code="duplicate_client_order_id",
            message=f"the account has an order with client_order_id {intent.client_order_id!r} already",
        )
        refused = _refused(intent, request, received_at=received_at, refusal=refusal)
        return await self._store_or_repeat(tx, refused, caller=caller, key=key, body_hash=body_hash)

    async def _store_or_repeat(
        self, tx: Transaction, answer: OrderAnswer, *, caller: str, key: str, body_hash: bytes
    ) -> OrderAnswer:
        stored = StoredAnswer(caller=caller, key=key, body_hash=body_hash, response=_to_json(answer))
        if await tx.idempotency.add(stored):
            return answer
        return await self._repeat(tx, caller=caller, key=key, body_hash=body_hash)

    async def _repeat(self, tx: Transaction, *, caller: str, key: str, body_hash: bytes) -> OrderAnswer:
        stored = await tx.idempotency.find(caller=caller, key=key)
        if stored is None or stored.body_hash != body_hash:
            raise IdempotencyConflict(key)
        return _from_json(stored.response)


def _intent(request: OrderRequest, *, account: Account, instrument: Instrument, caller: str, key: str) -> OrderIntent:
    return OrderIntent(
        account_id=account.id,
        client_order_id=request.client_order_id or client_order_id(caller, key),
        instrument_id=instrument.id,
        side=request.side,
        quantity=request.quantity,
        order_type=request.order_type,
        product=request.product,
        validity=request.validity,
        urgency=request.urgency,
        price=request.price,
        trigger_price=request.trigger_price,
        deadline=request.deadline,
        strategy_id=request.strategy_id,
        purpose=request.purpose,
    )


def _refused(
    intent: OrderIntent, request: OrderRequest, *, received_at: datetime, refusal: OrderRefused
) -> OrderAnswer:
    return OrderAnswer(
        order_id=None,
        client_order_id=intent.client_order_id,
        account=request.account,
        instrument=request.instrument,
        status=None,
        tag=None,
        received_at=received_at,
        refusal_code=refusal.code,
        refusal_message=refusal.message,
    )


def _to_json(answer: OrderAnswer) -> str:
    return json.dumps(asdict(answer), default=str)


def _from_json(text: str) -> OrderAnswer:
    raw = json.loads(text)
    return OrderAnswer(
        order_id=UUID(raw["order_id"]) if raw["order_id"] else None,
        client_order_id=raw["client_order_id"],
        account=raw["account"],
        instrument=raw["instrument"],
        status=OrderStatus(raw["status"]) if raw["status"] else None,
        tag=raw["tag"],
        received_at=datetime.fromisoformat(raw["received_at"]),
        refusal_code=raw["refusal_code"],
        refusal_message=raw["refusal_message"],
        replayed=True,
    )
