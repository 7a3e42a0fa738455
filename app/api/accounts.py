"""GET /accounts, and letting a broken login be tried again."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from app.api.dependencies import CurrentCaller, Services
from app.api.problems import documented
from app.api.schemas import Moment, ReasonIn
from app.core.accounts import AccountMode, AccountStatus, BlockReason, SessionState
from app.repositories.account_states import AccountState

router = APIRouter(prefix="/accounts", tags=["accounts"])


class BlockOut(BaseModel):
    """Why an account takes no entries."""

    reason: BlockReason
    detail: str
    since: Moment


class SessionOut(BaseModel):
    """How an account stands at its broker. `next_login_at`: before that nobody tries a login."""

    state: SessionState
    expires_at: Moment | None
    failures: int
    last_error: str | None
    next_login_at: Moment | None


class AccountOut(BaseModel):
    """A broker account without its secrets."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "paper",
                    "broker": "angelone",
                    "mode": "PAPER",
                    "status": "ACTIVE",
                    "client_code": "P123456789",
                    "session": {
                        "state": "LOGGED_IN",
                        "expires_at": "2019-01-02T00:00:00+05:30",
                        "failures": 0,
                        "last_error": None,
                        "next_login_at": None,
                    },
                    "blocks": [],
                }
            ]
        }
    )

    name: str
    broker: str
    mode: AccountMode
    status: AccountStatus
    client_code: str
    session: SessionOut
    blocks: list[BlockOut]

    @classmethod
    def of(cls, found: AccountState) -> "AccountOut":
        """Return the wire form of an account."""
        account = found.account
        return cls(
            name=account.name,
            broker=account.broker,
            mode=account.mode,
            status=account.status,
            client_code=account.client_code,
            session=SessionOut(
                state=found.session,
                expires_at=found.expires_at,
                failures=found.failures,
                last_error=found.last_error,
                next_login_at=found.next_login_at,
            ),
            blocks=[BlockOut(reason=one.reason, detail=one.detail, since=one.since) for one in found.blocks],
        )


class AccountPage(BaseModel):
    """Accounts, by name."""

    items: list[AccountOut]
    next_cursor: str | None


class LoginAllowed(BaseModel):
    """The account's session as it stands now; the keeper logs in at once where that is needed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"account": "paper", "state": "LOGGED_OUT"}]})

    account: str = Field(examples=["paper"])
    state: SessionState


@router.get("", responses=documented(401, 422, 503))
async def list_accounts(
    caller: CurrentCaller,
    services: Services,
    cursor: Annotated[
        str | None, Query(max_length=64, pattern=r"^[^\x00]*$", description="next_cursor of the page before")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> AccountPage:
    """List the broker accounts by name: how each stands, is logged in, and why it takes no entries if so."""
    async with services.uow.statement() as tx:
        found = await tx.account_states.page(after=cursor, limit=limit + 1)
    shown = found[:limit]
    return AccountPage(
        items=[AccountOut.of(one) for one in shown],
        next_cursor=shown[-1].account.name if len(found) > limit else None,
    )


@router.post("/{name}/login", status_code=202, responses=documented(400, 401, 404, 413, 422, 503))
async def log_in_again(
    name: Annotated[str, Path(max_length=64)],
    caller: CurrentCaller,
    services: Services,
    body: ReasonIn | None = None,
) -> LoginAllowed:
    """Let the account be logged in again: earlier refusals are forgotten, and a BROKEN login is tried once more.

    Nothing happens to a session that is alive. Look at the credentials first: brokers lock accounts.
    """
    account = await services.accounts.by_name(name)
    if account is None:
        raise HTTPException(404, detail="there is no such account")
    async with services.uow.transaction() as tx:
        state = await tx.sessions.allow_again(account.id)
        await tx.audit.add(
            actor=f"user:{caller.username}",
            action="account.login",
            subject=account.name,
            reason=body.reason if body else None,
        )
    return LoginAllowed(account=account.name, state=state)
