"""POST /orders/{id}/resolve: a person's word on an UNKNOWN order."""

import hashlib
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from app.api.dependencies import CurrentCaller, Services
from app.api.idempotency import REPLAYED_HEADER, IdempotencyKey, replay_headers
from app.api.problems import documented, problem_response
from app.core.orders import OrderStatus
from app.services.change_answers import Asked
from app.services.order_changes import UnknownOrder
from app.services.resolutions import Resolution

router = APIRouter(prefix="/orders", tags=["orders"])


class ResolutionIn(BaseModel):
    """What somebody has made sure of at the broker."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "resolution": "placed",
                    "broker_order_id": "260921000000010",
                    "reason": "seen in the broker's own order book at 11:20",
                }
            ]
        },
    )

    resolution: Resolution = Field(
        description="placed: the broker has it, under `broker_order_id`. absent: it does not, and the order is "
        "cancelled. resend: it does not, and the order is sent once more"
    )
    broker_order_id: str | None = Field(default=None, pattern=r"^[\x21-\x7e]{1,64}$", examples=["260921000000010"])
    reason: str = Field(min_length=5, max_length=500, pattern=r"^[^\x00]*$", description="Kept with the order")


class ResolutionOut(BaseModel):
    """The order's state after it was resolved."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "order_id": "019a9c2e-7d3a-7c11-8f52-3b6f0a4d9e21",
                    "status": "PLACED",
                    "broker_order_id": "260921000000010",
                }
            ]
        }
    )

    order_id: UUID
    status: OrderStatus
    broker_order_id: str | None


_RESOLVED: dict[int | str, dict[str, object]] = {200: {"description": "Resolved", "headers": REPLAYED_HEADER}}


@router.post(
    "/{order_id}/resolve",
    response_model=ResolutionOut,
    responses=_RESOLVED | documented(400, 401, 404, 409, 413, 422, 503),
)
async def resolve_order(
    order_id: UUID, body: ResolutionIn, key: IdempotencyKey, caller: CurrentCaller, services: Services
) -> Response:
    """Say what has become of an UNKNOWN order, where the broker's books cannot tell. Needs a reason, which is kept.

    Look into the broker's own order book before: `resend` sends the order once more, whatever became of the first.
    409 `order_not_unknown` where the order's state is known, `broker_order_taken` where another order has that id.
    """
    asked = Asked(
        caller=f"user:{caller.username}",
        key=key,
        body_hash=hashlib.sha256(f"resolve {order_id} {body.model_dump_json()}".encode()).digest(),
    )
    try:
        answer = await services.resolutions.resolve(
            order_id, body.resolution, broker_order_id=body.broker_order_id, reason=body.reason, asked=asked
        )
    except UnknownOrder as error:
        raise HTTPException(404, detail=f"there is no order {order_id}") from error
    headers = replay_headers(replayed=answer.replayed)
    if answer.refusal_code is not None:
        return problem_response(
            status=409,
            code=answer.refusal_code,
            title="The order cannot be resolved so",
            detail=answer.refusal_message or "",
            headers=headers,
        )
    out = ResolutionOut(order_id=answer.order_id, status=answer.status, broker_order_id=answer.broker_order_id)
    return JSONResponse(out.model_dump(mode="json"), headers=headers)
