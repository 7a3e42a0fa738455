"""GET /dead-letters, and what a person does with one."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from app.api.dependencies import CurrentCaller, Services
from app.api.names import account_id_of, account_names
from app.api.problems import documented
from app.api.schemas import Moment, ReasonIn
from app.core.commands import CommandKind
from app.core.orders import OrderStatus
from app.queue.errors import QueueUnreachable
from app.repositories.dead_letters import DeadLetter
from app.services.dead_letters import NotParked

router = APIRouter(prefix="/dead-letters", tags=["dead letters"])


class DeadLetterOut(BaseModel):
    """A command that can go no further by itself. `reason` starts with a stable code."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "command_id": "019a9c2e-7d3a-7c11-8f52-3b6f0a4d9e21",
                    "order_id": "019a9c2e-7d3a-7c11-8f52-000000000002",
                    "account": "paper",
                    "kind": "PLACE",
                    "reason": "broker_logged_out",
                    "attempts": 0,
                    "order_status": "PENDING",
                    "parked_at": "2019-01-01T09:16:00+05:30",
                }
            ]
        }
    )

    command_id: UUID
    order_id: UUID
    account: str
    kind: CommandKind
    reason: str
    attempts: int
    order_status: OrderStatus
    parked_at: Moment | None

    @classmethod
    def of(cls, letter: DeadLetter, *, account: str) -> "DeadLetterOut":
        """Return the wire form of a dead letter."""
        return cls(
            command_id=letter.command_id,
            order_id=letter.order_id,
            account=account,
            kind=letter.kind,
            reason=letter.reason,
            attempts=letter.attempt,
            order_status=letter.status,
            parked_at=letter.parked_at,
        )


class DeadLetterPage(BaseModel):
    """Dead letters, newest first, and how many there are.

    `other_version_bells`: bells that another release had written and that were rung anew; null while Redis is away.
    """

    items: list[DeadLetterOut]
    next_cursor: UUID | None
    total: int
    other_version_bells: int | None


class DeadLetterSettled(BaseModel):
    """What became of a dead letter."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"command_id": "019a9c2e-7d3a-7c11-8f52-3b6f0a4d9e21", "result": "requeued"}]}
    )

    command_id: UUID
    result: str


@router.get("", responses=documented(401, 422, 503))
async def list_dead_letters(
    caller: CurrentCaller,
    services: Services,
    account: Annotated[str | None, Query(max_length=64)] = None,
    cursor: Annotated[UUID | None, Query(description="next_cursor of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> DeadLetterPage:
    """List commands that are parked, newest first."""
    account_id = await account_id_of(services, account)
    async with services.uow.statement() as tx:
        found = await tx.dead_letters.page(account_id=account_id, before=cursor, limit=limit + 1)
        total = await tx.dead_letters.count()
    try:
        other_versions = await services.queues.bells_of_other_versions()
    except QueueUnreachable:
        other_versions = None
    shown = found[:limit]
    names = await account_names(services, {one.account_id for one in shown})
    return DeadLetterPage(
        items=[DeadLetterOut.of(one, account=names[one.account_id]) for one in shown],
        next_cursor=shown[-1].command_id if len(found) > limit else None,
        total=total,
        other_version_bells=other_versions,
    )


@router.post("/{command_id}/requeue", responses=documented(400, 401, 404, 413, 422, 503))
async def requeue_dead_letter(
    command_id: UUID, body: ReasonIn, caller: CurrentCaller, services: Services
) -> DeadLetterSettled:
    """Send a parked command on its way again, through every gate. Needs a reason, which is kept."""
    try:
        await services.dead_letters.requeue(command_id, actor=f"user:{caller.username}", reason=body.reason)
    except NotParked as error:
        raise _not_parked() from error
    return DeadLetterSettled(command_id=command_id, result="requeued")


@router.post("/{command_id}/close", responses=documented(400, 401, 404, 413, 422, 503))
async def close_dead_letter(
    command_id: UUID, body: ReasonIn, caller: CurrentCaller, services: Services
) -> DeadLetterSettled:
    """Give a parked command up: a placement's order becomes CANCELLED and is never sent. Needs a reason."""
    try:
        await services.dead_letters.close(command_id, actor=f"user:{caller.username}", reason=body.reason)
    except NotParked as error:
        raise _not_parked() from error
    return DeadLetterSettled(command_id=command_id, result="closed")


def _not_parked() -> HTTPException:
    return HTTPException(404, detail="there is no such dead letter: perhaps somebody has settled it already")
