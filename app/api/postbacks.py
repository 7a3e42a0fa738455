"""POST /postbacks/{broker}: the one address that a broker calls, and that therefore wants no token."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from app.api.dependencies import Services
from app.api.problems import documented

BODY_BYTES_MAX = 16 * 1024

router = APIRouter(prefix="/postbacks", tags=["postbacks"])


class PostbackIn(BaseModel):
    """What is read of a postback: whose order. All else in it is left unread, for nothing vouches for it."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"examples": [{"clientcode": "P123456789", "orderid": "190101000000001"}]},
    )

    clientcode: str = Field(min_length=1, max_length=64)
    orderid: str = Field(min_length=1, max_length=64)


@router.post("/{broker}", status_code=204, responses=documented(400, 413, 422, 503))
async def take_postback(
    broker: Annotated[str, Path(pattern=r"^[a-z0-9_-]{1,32}$")], body: PostbackIn, request: Request, services: Services
) -> None:
    """Take a broker's word that an order has changed, as a hint to read that account's books.

    Nobody signs postbacks, so nothing in one is believed, and the answer is the same for clients that are not ours.
    Bodies of up to 16 kB; a flood makes the keeper read no more often than it may.
    """
    if len(await request.body()) > BODY_BYTES_MAX:
        raise HTTPException(413, detail="a postback is at most 16 kB")
    await services.postbacks.take(broker=broker, client_code=body.clientcode)
