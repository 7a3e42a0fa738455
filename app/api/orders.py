"""POST and GET /orders."""

import hashlib
from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from app.api.dependencies import ApiServices, CurrentCaller, Services
from app.api.idempotency import REPLAYED_HEADER, IdempotencyKey, replay_headers
from app.api.names import account_id_of, account_names, instrument_id_of, instrument_of
from app.api.order_schemas import EventOut, OrderAccepted, OrderDetail, OrderIn, OrderOut, OrderPage
from app.api.problems import documented, problem_response
from app.core.orders import Order, OrderStatus, Side
from app.repositories.orders import OrderFilter
from app.services.orders import OrderRequest

router = APIRouter(prefix="/orders", tags=["orders"])

_ACCEPTED: dict[int | str, dict[str, object]] = {
    202: {
        "description": "Saved: it will be sent once",
        "headers": {
            "Location": {"description": "Where its state is", "schema": {"type": "string"}},
            **REPLAYED_HEADER,
        },
    }
}


@router.post(
    "",
    status_code=202,
    response_model=OrderAccepted,
    responses=_ACCEPTED | documented(400, 401, 409, 413, 422, 503),
)
async def place_order(body: OrderIn, key: IdempotencyKey, caller: CurrentCaller, services: Services) -> Response:
    """Save an order, to be placed at the broker once.

    202 means that it is saved: whatever crashes now, it is sent once or its state says why not. The same key with the
    same body gets the first answer again (header `Idempotency-Replayed: true`), with another body 409.
    """
    request = OrderRequest(**{name: getattr(body, name) for name in OrderIn.model_fields})
    answer = await services.orders.place(
        request,
        caller=f"user:{caller.username}",
        key=key,
        body_hash=hashlib.sha256(body.model_dump_json().encode()).digest(),
    )
    headers = replay_headers(replayed=answer.replayed)
    if answer.order_id is None or answer.status is None or answer.tag is None:
        return problem_response(
            status=409,
            code=answer.refusal_code or "refused",
            title="The order is refused",
            detail=answer.refusal_message or "",
            headers=headers,
        )
    accepted = OrderAccepted(
        order_id=answer.order_id,
        client_order_id=answer.client_order_id,
        account=answer.account,
        instrument=answer.instrument,
        status=answer.status,
        tag=answer.tag,
        received_at=answer.received_at,
    )
    headers["Location"] = f"/api/v1/orders/{answer.order_id}"
    return JSONResponse(accepted.model_dump(mode="json"), status_code=202, headers=headers)


@router.get("", responses=documented(401, 422, 503))
async def list_orders(
    caller: CurrentCaller,
    services: Services,
    account: Annotated[str | None, Query(max_length=64)] = None,
    status: OrderStatus | None = None,
    instrument: Annotated[str | None, Query(max_length=64, examples=["NSE:YESBANK"])] = None,
    strategy_id: UUID | None = None,
    side: Side | None = None,
    trading_day: date | None = None,
    cursor: Annotated[UUID | None, Query(description="next_cursor of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> OrderPage:
    """List orders, newest first."""
    wanted = OrderFilter(
        account_id=await account_id_of(services, account),
        status=status,
        instrument_id=await instrument_id_of(services, instrument),
        strategy_id=strategy_id,
        side=side,
        trading_day=trading_day,
        before=cursor,
    )
    async with services.uow.statement() as tx:
        found = await tx.orders.page(wanted, limit=limit + 1)
    names = await account_names(services, {order.intent.account_id for order in found})
    items = [await _out(services, order, names) for order in found[:limit]]
    return OrderPage(items=items, next_cursor=items[-1].order_id if len(found) > limit else None)


@router.get("/{order_id}", responses=documented(401, 404, 422, 503))
async def get_order(order_id: UUID, caller: CurrentCaller, services: Services) -> OrderDetail:
    """Return one order with its timeline."""
    async with services.uow.statement() as tx:
        order = await tx.orders.get(order_id)
        events = await tx.orders.timeline(order_id)
    if order is None:
        raise HTTPException(404, detail=f"there is no order {order_id}")
    names = await account_names(services, {order.intent.account_id})
    out = await _out(services, order, names)
    return OrderDetail(**out.model_dump(), events=[EventOut.of(event) for event in events])


async def _out(services: ApiServices, order: Order, names: dict[UUID, str]) -> OrderOut:
    instrument = await instrument_of(services, order.intent.instrument_id)
    return OrderOut.of(order, account=names[order.intent.account_id], instrument=instrument)
