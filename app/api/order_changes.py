"""Cancelling and changing orders."""

import hashlib
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from app.api.dependencies import ApiServices, CurrentCaller, Services
from app.api.idempotency import REPLAYED_HEADER, IdempotencyKey, replay_headers
from app.api.names import account_id_of, instrument_id_of
from app.api.order_change_schemas import CancelIn, CancelManyIn, CancelManyOut, OrderChangeIn, OrderChangeOut
from app.api.problems import documented, problem_response
from app.core.errors import InvalidOrder
from app.core.order_changes import Wanted
from app.repositories.order_changes import CancelFilter
from app.services.change_answers import Asked, ChangeAnswer
from app.services.order_changes import UnknownOrder
from app.services.tokens import Caller

router = APIRouter(prefix="/orders", tags=["orders"])

_SAVED: dict[int | str, dict[str, object]] = {
    202: {"description": "Saved: the order's state tells what becomes of it", "headers": REPLAYED_HEADER}
}


@router.patch(
    "/{order_id}",
    status_code=202,
    response_model=OrderChangeOut,
    responses=_SAVED | documented(400, 401, 404, 409, 413, 422, 503),
)
async def change_order(
    order_id: UUID, body: OrderChangeIn, key: IdempotencyKey, caller: CurrentCaller, services: Services
) -> Response:
    """Change quantity, price, trigger or type of an order that is not over.

    An order that was not sent yet is simply sent with the new terms. One that rests at the broker keeps its terms
    until the broker has taken the new ones: `modify_sent` is no promise. 409 `order_in_flight` while it is not known
    whether the order is at the broker, `change_in_flight` while another change or cancel of it is under way.
    """
    wanted = Wanted(
        quantity=body.quantity, order_type=body.order_type, price=body.price, trigger_price=body.trigger_price
    )
    asked = _asked(caller, key, f"change {order_id}", body, account=body.account)
    try:
        return _answer(await services.order_changes.modify(order_id, wanted, asked))
    except UnknownOrder as error:
        raise HTTPException(404, detail=f"there is no order {order_id}") from error


@router.post(
    "/{order_id}/cancel",
    status_code=202,
    response_model=OrderChangeOut,
    responses=_SAVED | documented(400, 401, 404, 409, 413, 422, 503),
)
async def cancel_order(
    order_id: UUID, key: IdempotencyKey, caller: CurrentCaller, services: Services, body: CancelIn | None = None
) -> Response:
    """Cancel an order that is not over.

    `cancelled`: it was not sent yet, and never will be. `cancel_sent`: it rests at the broker, and is CANCELLED when
    the broker's books say so: it may still trade before. `held`: it is not known yet whether the broker has it; as
    soon as it is, it is cancelled there, or never sent.
    """
    account = body.account if body else None
    asked = _asked(caller, key, f"cancel {order_id}", body or CancelIn(), account=account)
    try:
        return _answer(await services.order_changes.cancel(order_id, asked))
    except UnknownOrder as error:
        raise HTTPException(404, detail=f"there is no order {order_id}") from error


@router.post(
    "/cancel",
    status_code=202,
    response_model=CancelManyOut,
    responses=_SAVED | documented(400, 401, 409, 413, 422, 503),
)
async def cancel_orders(body: CancelManyIn, key: IdempotencyKey, caller: CurrentCaller, services: Services) -> Response:
    """Cancel all orders of an account that fit, oldest first, 500 at most: `more` tells that others are left."""
    wanted = CancelFilter(
        account_id=await _account_id(services, body.account),
        instrument_id=await instrument_id_of(services, body.instrument),
        strategy_id=body.strategy_id,
        side=body.side,
        purpose=body.purpose,
    )
    asked = _asked(caller, key, "cancel many", body)
    answer = await services.order_changes.cancel_many(wanted, account=body.account, asked=asked)
    out = CancelManyOut.of(answer)
    return JSONResponse(out.model_dump(mode="json"), status_code=202, headers=replay_headers(replayed=answer.replayed))


async def _account_id(services: ApiServices, name: str) -> UUID:
    found = await account_id_of(services, name)
    if found is None:
        raise InvalidOrder(field="account", code="unknown_account", message=f"there is no account {name!r}")
    return found


def _asked(caller: Caller, key: str, what: str, body: BaseModel, *, account: str | None = None) -> Asked:
    return Asked(
        caller=f"user:{caller.username}",
        key=key,
        body_hash=hashlib.sha256(f"{what} {body.model_dump_json()}".encode()).digest(),
        account=account,
    )


def _answer(answer: ChangeAnswer) -> Response:
    headers = replay_headers(replayed=answer.replayed)
    if answer.result is None:
        return problem_response(
            status=409,
            code=answer.refusal_code or "refused",
            title="The order cannot be changed now",
            detail=answer.refusal_message or "",
            headers=headers,
        )
    out = OrderChangeOut.of(answer, answer.result)
    headers["Location"] = f"/api/v1/orders/{answer.order_id}"
    return JSONResponse(out.model_dump(mode="json"), status_code=202, headers=headers)
