"""What keeps an account from taking new entries, and lifting it."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from app.api.accounts import BlockOut
from app.api.dependencies import ApiServices, CurrentCaller, Services
from app.api.problems import documented
from app.api.schemas import ReasonIn
from app.core.accounts import Account, BlockReason

router = APIRouter(prefix="/accounts", tags=["accounts"])

AccountName = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[^\x00]+$", examples=["paper"])]


class BlockList(BaseModel):
    """Why an account takes no entries; none: it takes them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "reason": "ORPHAN",
                            "detail": "the broker's order 260921000000010 carries our tag, and no order of ours is it",
                            "since": "2019-01-01T09:16:00+05:30",
                        }
                    ]
                }
            ]
        }
    )

    items: list[BlockOut]


@router.get("/{name}/blocks", responses=documented(401, 404, 422, 503))
async def list_blocks(name: AccountName, caller: CurrentCaller, services: Services) -> BlockList:
    """List why an account takes no entries at present. Exits and cancels go on."""
    account = await _account(services, name)
    async with services.uow.statement() as tx:
        blocks = await tx.blocks.all()
    return BlockList(
        items=[
            BlockOut(reason=one.reason, detail=one.detail, since=one.since)
            for one in blocks
            if one.account_id == account.id
        ]
    )


@router.post("/{name}/blocks/{reason}/lift", status_code=204, responses=documented(400, 401, 404, 413, 422, 503))
async def lift_block(
    name: AccountName, reason: BlockReason, body: ReasonIn, caller: CurrentCaller, services: Services
) -> None:
    """Let an account take entries again. Where the cause lasts, its duty blocks it anew. Needs a reason, kept."""
    account = await _account(services, name)
    async with services.uow.transaction() as tx:
        if not await tx.blocks.lift(account.id, reason):
            raise HTTPException(404, detail=f"the account {name!r} is not blocked for {reason}")
        await tx.audit.add(
            actor=f"user:{caller.username}", action=f"account.lift.{reason}", subject=name, reason=body.reason
        )


async def _account(services: ApiServices, name: str) -> Account:
    account = await services.accounts.by_name(name)
    if account is None:
        raise HTTPException(404, detail=f"there is no account {name!r}")
    return account
