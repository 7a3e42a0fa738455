"""Resolving an UNKNOWN order by a person's word, which is kept with the reason."""

import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from uuid import UUID

from app.core.alerts import AlertKind
from app.core.errors import InvalidOrder
from app.core.orders import OrderStatus
from app.core.ports import Doorbell, Ring
from app.core.transitions import OrderEvent
from app.repositories.idempotency import StoredAnswer
from app.repositories.resolutions import BrokerOrderTaken
from app.repositories.unit_of_work import Transaction, UnitOfWork
from app.services.change_answers import Asked
from app.services.order_changes import UnknownOrder
from app.services.orders import IdempotencyConflict


class Resolution(StrEnum):
    """What a person has found out about an order, or wants of it."""

    PLACED = "placed"
    ABSENT = "absent"
    RESEND = "resend"


_EVENTS = {
    Resolution.PLACED: OrderEvent.RESOLVED_PLACED,
    Resolution.ABSENT: OrderEvent.RESOLVED_ABSENT,
    Resolution.RESEND: OrderEvent.RESOLVED_RESEND,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionAnswer:
    """What became of a resolution: the order's status, or a refusal's code and message."""

    order_id: UUID
    status: OrderStatus
    broker_order_id: str | None
    refusal_code: str | None = None
    refusal_message: str | None = None
    replayed: bool = False


class Resolutions:
    """Moves UNKNOWN orders on where the broker's books cannot."""

    def __init__(self, *, uow: UnitOfWork, doorbell: Doorbell) -> None:
        self._uow = uow
        self._doorbell = doorbell

    async def resolve(
        self, order_id: UUID, resolution: Resolution, *, broker_order_id: str | None, reason: str, asked: Asked
    ) -> ResolutionAnswer:
        """Resolve an order, or return the answer that this caller's key got before.

        Raises `InvalidOrder` for a broker order id that is missing or not wanted, `UnknownOrder`, and
        `IdempotencyConflict` for a key that was used for something else.
        """
        if resolution is Resolution.PLACED and broker_order_id is None:
            raise InvalidOrder(
                field="broker_order_id", code="broker_order_id_missing", message="say which order of the broker it is"
            )
        if resolution is not Resolution.PLACED and broker_order_id is not None:
            raise InvalidOrder(
                field="broker_order_id",
                code="broker_order_id_not_wanted",
                message="only an order that was placed has a broker order id",
            )
        try:
            answer, rings = await self._resolve(order_id, resolution, broker_order_id, reason, asked)
        except BrokerOrderTaken:
            # Its transaction is lost. It ends without a stored answer: nothing was changed.
            return ResolutionAnswer(
                order_id=order_id,
                status=OrderStatus.UNKNOWN,
                broker_order_id=None,
                refusal_code="broker_order_taken",
                refusal_message=f"another order of the account is the broker's order {broker_order_id}",
            )
        if rings:
            await self._doorbell.ring(rings)
        return answer

    async def _resolve(
        self, order_id: UUID, resolution: Resolution, broker_order_id: str | None, reason: str, asked: Asked
    ) -> tuple[ResolutionAnswer, list[Ring]]:
        async with self._uow.transaction() as tx:
            if (before := await _given(tx, asked)) is not None:
                return before, []
            ring = await tx.resolutions.resolve(
                order_id, _EVENTS[resolution], broker_order_id=broker_order_id, actor=asked.caller, reason=reason
            )
            # A cancel that was held for the order is due now, and ends one that waits to be sent.
            rings = await tx.commands.release_held([order_id], actor=asked.caller) if ring is not None else []
            order = await tx.orders.get(order_id)
            if order is None:
                raise UnknownOrder(str(order_id))
            answer = ResolutionAnswer(order_id=order_id, status=order.status, broker_order_id=order.broker_order_id)
            if ring is None:
                answer = replace(
                    answer,
                    refusal_code="order_not_unknown",
                    refusal_message=f"the order is {order.status}: only an UNKNOWN one is resolved by a person",
                )
            else:
                await tx.audit.add(
                    actor=asked.caller,
                    action=f"order.resolve.{resolution}",
                    subject=str(order_id),
                    reason=reason,
                    detail={"broker_order_id": broker_order_id} if broker_order_id else None,
                )
                await tx.alerts.close(AlertKind.ORDER_UNKNOWN, str(order_id))
                rings += [ring] if order.status is OrderStatus.PENDING else []
            if not await tx.idempotency.add(_stored(asked, answer)):
                # The same key at this very moment: the other request's answer stands, and nothing of this one.
                before = await _given(tx, asked)
                if ring is not None or before is None:
                    raise IdempotencyConflict(asked.key)
                return before, []
        return answer, rings


async def _given(tx: Transaction, asked: Asked) -> ResolutionAnswer | None:
    stored = await tx.idempotency.find(caller=asked.caller, key=asked.key)
    if stored is None:
        return None
    if stored.body_hash != asked.body_hash:
        raise IdempotencyConflict(asked.key)
    raw = json.loads(stored.response)
    return ResolutionAnswer(
        **{**raw, "order_id": UUID(raw["order_id"]), "status": OrderStatus(raw["status"]), "replayed": True}
    )


def _stored(asked: Asked, answer: ResolutionAnswer) -> StoredAnswer:
    response = json.dumps(asdict(answer), default=str)
    return StoredAnswer(caller=asked.caller, key=asked.key, body_hash=asked.body_hash, response=response)
