"""GET /balances."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.api.book_schemas import BalanceList, BalanceOut
from app.api.dependencies import CurrentCaller, Services
from app.api.names import account_id_of
from app.api.problems import documented

router = APIRouter(prefix="/balances", tags=["balances"])


@router.get("", responses=documented(401, 422, 503))
async def list_balances(
    caller: CurrentCaller,
    services: Services,
    account: Annotated[str | None, Query(max_length=64)] = None,
    cursor: Annotated[
        str | None, Query(max_length=64, pattern=r"^[^\x00]+$", description="next_cursor of the page before")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> BalanceList:
    """Show cash, P&L and fees from our own fills, per account and per strategy, beside the broker's cash."""
    account_id = await account_id_of(services, account)
    found = await services.balances.page(account_id=account_id, after=cursor, limit=limit + 1)
    items = [BalanceOut.of(balance) for balance in found[:limit]]
    return BalanceList(items=items, next_cursor=items[-1].account if len(found) > limit else None)
