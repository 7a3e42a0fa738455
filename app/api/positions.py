"""GET /positions."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from app.api.dependencies import CurrentCaller, Services
from app.api.names import account_id_of, account_names, instrument_of
from app.api.problems import documented
from app.api.trade_schemas import PositionList, PositionOut

router = APIRouter(prefix="/positions", tags=["positions"])


@router.get("", responses=documented(401, 422, 503))
async def list_positions(
    caller: CurrentCaller,
    services: Services,
    account: Annotated[str | None, Query(max_length=64)] = None,
    strategy_id: UUID | None = None,
    open_only: bool = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> PositionList:
    """List positions from our own fills, those changed last first."""
    account_id = await account_id_of(services, account)
    async with services.uow.statement() as tx:
        held = await tx.positions.page(account_id=account_id, strategy_id=strategy_id, open_only=open_only, limit=limit)
    valued = await services.balances.valued(held)
    names = await account_names(services, {one.key.account_id for one in held})
    return PositionList(
        items=[
            PositionOut.of(
                one,
                valued[one.id],
                account=names[one.key.account_id],
                instrument=await instrument_of(services, one.key.instrument_id),
            )
            for one in held
        ]
    )
