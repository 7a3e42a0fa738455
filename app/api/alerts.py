"""GET /alerts, and closing one."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.api.dependencies import CurrentCaller, Services
from app.api.names import account_id_of, account_names
from app.api.problems import documented, problem_response
from app.api.schemas import Moment, ReasonIn
from app.core.alerts import AlertKind, Severity
from app.repositories.alerts import Alert

router = APIRouter(prefix="/alerts", tags=["alerts"])


class AlertOut(BaseModel):
    """Something that a person should look at. `count`: how often it was seen while open."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "alert_id": "019a9c2e-7d3a-7c11-8f52-3b6f0a4d9e21",
                    "kind": "SESSION_BROKEN",
                    "severity": "CRITICAL",
                    "subject": "019a9c2e-7d3a-7c11-8f52-000000000001",
                    "account": "paper",
                    "order_id": None,
                    "message": "the login is refused and not tried any more: Invalid totp",
                    "detail": {},
                    "count": 1,
                    "opened_at": "2019-01-01T09:16:00+05:30",
                    "seen_at": "2019-01-01T09:16:00+05:30",
                    "closed_at": None,
                }
            ]
        }
    )

    alert_id: UUID
    kind: AlertKind
    severity: Severity
    subject: str
    account: str | None
    order_id: UUID | None
    message: str
    detail: dict[str, str]
    count: int
    opened_at: Moment
    seen_at: Moment
    closed_at: Moment | None

    @classmethod
    def of(cls, alert: Alert, *, account: str | None) -> "AlertOut":
        """Return the wire form of an alert."""
        return cls(
            alert_id=alert.id,
            kind=alert.kind,
            severity=alert.severity,
            subject=alert.subject,
            account=account,
            order_id=alert.order_id,
            message=alert.message,
            detail=alert.detail,
            count=alert.count,
            opened_at=alert.opened_at,
            seen_at=alert.seen_at,
            closed_at=alert.closed_at,
        )


class AlertPage(BaseModel):
    """Alerts, newest first."""

    items: list[AlertOut]
    next_cursor: UUID | None


@router.get("", responses=documented(401, 422, 503))
async def list_alerts(
    caller: CurrentCaller,
    services: Services,
    account: Annotated[str | None, Query(max_length=64)] = None,
    kind: AlertKind | None = None,
    open_only: bool = True,
    cursor: Annotated[UUID | None, Query(description="next_cursor of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> AlertPage:
    """List alerts, newest first: the open ones unless `open_only=false`."""
    account_id = await account_id_of(services, account)
    async with services.uow.statement() as tx:
        found = await tx.alerts.page(
            open_only=open_only, account_id=account_id, kind=kind, before=cursor, limit=limit + 1
        )
    shown = found[:limit]
    names = await account_names(services, {one.account_id for one in shown if one.account_id is not None})
    return AlertPage(
        items=[AlertOut.of(one, account=names[one.account_id] if one.account_id else None) for one in shown],
        next_cursor=shown[-1].id if len(found) > limit else None,
    )


@router.post("/{alert_id}/close", response_model=AlertOut, responses=documented(400, 401, 404, 409, 413, 422, 503))
async def close_alert(alert_id: UUID, body: ReasonIn, caller: CurrentCaller, services: Services) -> Response | AlertOut:
    """Close an alert by hand, with a reason that is kept. Where its cause lasts, its duty opens a new one."""
    async with services.uow.transaction() as tx:
        closed = await tx.alerts.close_one(alert_id)
        alert = await tx.alerts.get(alert_id)
        if alert is None:
            raise HTTPException(404, detail="there is no such alert")
        if closed:
            await tx.audit.add(
                actor=f"user:{caller.username}",
                action="alert.close",
                subject=str(alert_id),
                reason=body.reason,
                detail={"kind": alert.kind.value, "subject": alert.subject},
            )
    if not closed:
        return problem_response(
            status=409, code="alert_not_open", title="The alert is not open", detail="it has been closed already"
        )
    names = await account_names(services, {alert.account_id} if alert.account_id else set())
    return AlertOut.of(alert, account=names[alert.account_id] if alert.account_id else None)
