"""What the routers are given: the wired services, and the caller behind a token."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from app.monitoring.scrape import Scrape
from app.queue.queue_manager import QueueManager
from app.repositories.unit_of_work import UnitOfWork
from app.services.account_directory import AccountDirectory
from app.services.balances import Balances
from app.services.dead_letters import DeadLetters
from app.services.instrument_manager import InstrumentManager
from app.services.order_changes import OrderChangeService
from app.services.orders import OrderService
from app.services.postbacks import Postbacks
from app.services.reconciliation_reports import ReconciliationReports
from app.services.resolutions import Resolutions
from app.services.tokens import Caller, NotAuthenticated, TokenService


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServices:
    """Everything that the API needs, made by the composition root."""

    uow: UnitOfWork
    orders: OrderService
    order_changes: OrderChangeService
    resolutions: Resolutions
    tokens: TokenService
    accounts: AccountDirectory
    instruments: InstrumentManager
    queues: QueueManager
    balances: Balances
    dead_letters: DeadLetters
    postbacks: Postbacks
    reconciliations: ReconciliationReports
    scrape: Scrape


async def services(request: Request) -> ApiServices:
    """Return the services of this process; a plain function would take a trip through a thread each time."""
    return cast(ApiServices, request.app.state.services)


Services = Annotated[ApiServices, Depends(services)]
_bearer = HTTPBearer(auto_error=False, description="A token from /api/v1/auth/token")


async def caller(
    found: Services, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    """Return who asks; 401 without a valid token."""
    if credentials is None:
        raise _unauthorized("send a token: get one at /api/v1/auth/token")
    try:
        return found.tokens.verify(credentials.credentials)
    except NotAuthenticated as error:
        raise _unauthorized(str(error)) from error


def _unauthorized(detail: str) -> HTTPException:
    return HTTPException(401, detail=detail, headers={"WWW-Authenticate": "Bearer"})


CurrentCaller = Annotated[Caller, Depends(caller)]
