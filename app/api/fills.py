"""GET /fills."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from app.api.dependencies import CurrentCaller, Services
from app.api.names import account_id_of, account_names, instrument_id_of, instrument_of
from app.api.problems import documented
from app.api.trade_schemas import FillOut, FillPage

router = APIRouter(prefix="/fills", tags=["fills"])


@router.get("", responses=documented(401, 422, 503))
async def list_fills(
    caller: CurrentCaller,
    services: Services,
    account: Annotated[str | None, Query(max_length=64)] = None,
    order_id: UUID | None = None,
    instrument: Annotated[str | None, Query(max_length=64, examples=["NSE:YESBANK"])] = None,
    cursor: Annotated[UUID | None, Query(description="next_cursor of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> FillPage:
    """List trades, newest first."""
    account_id = await account_id_of(services, account)
    instrument_id = await instrument_id_of(services, instrument)
    async with services.uow.statement() as tx:
        found = await tx.fills.page(
            account_id=account_id, order_id=order_id, instrument_id=instrument_id, before=cursor, limit=limit + 1
        )
    names = await account_names(services, {fill.account_id for fill in found})
    items = [
        FillOut.of(
            fill,
            account=names[fill.account_id],
            instrument=await instrument_of(services, fill.instrument_id),
        )
        for fill in found[:limit]
    ]
    return FillPage(items=items, next_cursor=items[-1].fill_id if len(found) > limit else None)
