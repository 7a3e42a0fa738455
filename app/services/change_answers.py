"""What wishes to cancel and change orders are answered with, and how answers are kept for repeated requests."""

import json
from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from app.core.orders import Order, OrderStatus, OrderType
from app.repositories.idempotency import StoredAnswer


class ChangeResult(StrEnum):
    """What became of a wish to cancel or change an order."""

    CANCELLED = "cancelled"
    CANCEL_SENT = "cancel_sent"
    HELD = "held"
    ALREADY_OVER = "already_over"
    MODIFIED = "modified"
    MODIFY_SENT = "modify_sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who asks, with which idempotency key, for what; `account` is a name that the order's account must have."""

    caller: str
    key: str
    body_hash: bytes
    account: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeAnswer:
    """The answer to one wish: a result, or a refusal's code and message, with the order's state at that moment."""

    order_id: UUID
    account: str
    status: OrderStatus
    quantity: int
    filled_quantity: int
    order_type: OrderType
    price: Decimal | None
    trigger_price: Decimal | None
    result: ChangeResult | None = None
    refusal_code: str | None = None
    refusal_message: str | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """What became of one order of a bulk cancel."""

    order_id: UUID
    result: ChangeResult
    status: OrderStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelManyAnswer:
    """The answer to a bulk cancel. `more`: it had its fill of orders, ask again for the rest."""

    account: str
    results: tuple[Cancelled, ...]
    more: bool
    replayed: bool = False


def stored_answer(asked: Asked, answer: ChangeAnswer | CancelManyAnswer) -> StoredAnswer:
    """Return the answer as it is stored under the key."""
    response = json.dumps(asdict(answer), default=str)
    return StoredAnswer(caller=asked.caller, key=asked.key, body_hash=asked.body_hash, response=response)


def state_of(order: Order, *, account: str) -> ChangeAnswer:
    """Return the order's state as the ground of an answer that has no result yet."""
    intent = order.intent
    return ChangeAnswer(
        order_id=order.id,
        account=account,
        status=order.status,
        quantity=intent.quantity,
        filled_quantity=order.filled_quantity,
        order_type=intent.order_type,
        price=intent.price,
        trigger_price=intent.trigger_price,
    )


def change_answer(stored: StoredAnswer) -> ChangeAnswer:
    """Return the answer to one wish again."""
    raw = json.loads(stored.response)
    return ChangeAnswer(
        **{
            **raw,
            "order_id": UUID(raw["order_id"]),
            "status": OrderStatus(raw["status"]),
            "order_type": OrderType(raw["order_type"]),
            "price": _rupees(raw["price"]),
            "trigger_price": _rupees(raw["trigger_price"]),
            "result": ChangeResult(raw["result"]) if raw["result"] else None,
            "replayed": True,
        }
    )


def cancel_many_answer(stored: StoredAnswer) -> CancelManyAnswer:
    """Return the answer to a bulk cancel again."""
    raw = json.loads(stored.response)
    results = tuple(
        Cancelled(order_id=UUID(one["order_id"]), result=ChangeResult(one["result"]), status=OrderStatus(one["status"]))
        for one in raw["results"]
    )
    return CancelManyAnswer(account=raw["account"], results=results, more=raw["more"], replayed=True)


def _rupees(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)
