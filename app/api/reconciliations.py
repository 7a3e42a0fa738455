"""GET and POST /reconciliations."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from app.api.book_schemas import (
    ReconciliationIn,
    ReconciliationOut,
    ReconciliationPage,
    ReconciliationRequested,
)
from app.api.dependencies import CurrentCaller, Services
from app.api.names import account_id_of, account_names
from app.api.problems import documented, problem_response
from app.core.errors import InvalidOrder, OrderRefused
from app.core.reconciliations import ReconciliationCause

router = APIRouter(prefix="/reconciliations", tags=["reconciliations"])


@router.get("", responses=documented(401, 422, 503))
async def list_reconciliations(
    caller: CurrentCaller,
    services: Services,
    account: Annotated[str | None, Query(max_length=64)] = None,
    cursor: Annotated[UUID | None, Query(description="next_cursor of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> ReconciliationPage:
    """List comparisons of our books with the brokers', newest first."""
    account_id = await account_id_of(services, account)
    found = await services.reconciliations.page(account_id=account_id, before=cursor, limit=limit + 1)
    names = await account_names(services, {report.account_id for report in found})
    items = [ReconciliationOut.of(report, account=names[report.account_id]) for report in found[:limit]]
    return ReconciliationPage(items=items, next_cursor=items[-1].reconciliation_id if len(found) > limit else None)


@router.post(
    "",
    status_code=202,
    response_model=ReconciliationRequested,
    responses=documented(400, 401, 409, 413, 422, 503),
)
async def request_reconciliation(body: ReconciliationIn, caller: CurrentCaller, services: Services) -> Response:
    """Ask for a comparison now: the keeper makes it within seconds, and its report appears in the list.

    Asking again before the report is there changes nothing.
    """
    account = await services.accounts.by_name(body.account)
    if account is None:
        raise InvalidOrder(field="account", code="unknown_account", message=f"there is no account {body.account!r}")
    try:
        await services.reconciliations.request(account, actor=f"user:{caller.username}")
    except OrderRefused as error:
        return problem_response(status=409, code=error.code, title="There is nothing to compare", detail=error.message)
    requested = ReconciliationRequested(account=account.name, cause=ReconciliationCause.REQUEST)
    return JSONResponse(requested.model_dump(mode="json"), status_code=202)
