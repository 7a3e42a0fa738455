"""Alerts: opened once a kind and subject, seen again while they last, closed when it is over."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import RowMapping, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.alerts import AlertKind, Severity
from app.infra.ids import new_id
from app.models import AlertRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert as it is stored; `subject` is what it is about, such as an order id or an account's name."""

    id: UUID
    kind: AlertKind
    subject: str
    severity: Severity
    account_id: UUID | None
    order_id: UUID | None
    message: str
    detail: dict[str, str]
    count: int
    opened_at: datetime
    seen_at: datetime
    closed_at: datetime | None


_OPEN = text("""
INSERT INTO alerts AS a (id, kind, subject, severity, account_id, order_id, message, detail)
VALUES (:id, :kind, :subject, :severity, :account_id, :order_id, :message, CAST(:detail AS jsonb))
ON CONFLICT (kind, subject) WHERE closed_at IS NULL DO UPDATE SET count = a.count + 1, message = excluded.message,
  detail = excluded.detail, severity = excluded.severity, seen_at = clock_timestamp()
RETURNING a.count
""")
_CLOSE = text("""
UPDATE alerts SET closed_at = clock_timestamp() WHERE kind = :kind AND subject = :subject AND closed_at IS NULL
""")
_CLOSE_ONE = text("UPDATE alerts SET closed_at = clock_timestamp() WHERE id = :id AND closed_at IS NULL")


class AlertRepository:
    """SQL of the alerts table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def open(
        self,
        kind: AlertKind,
        subject: str,
        *,
        severity: Severity,
        message: str,
        account_id: UUID | None = None,
        order_id: UUID | None = None,
        detail: Mapping[str, str] | None = None,
    ) -> bool:
        """Open an alert, or note that the open one was seen again; true where it is new."""
        params = {
            "id": new_id(),
            "kind": kind.value,
            "subject": subject,
            "severity": severity.value,
            "account_id": account_id,
            "order_id": order_id,
            "message": message,
            "detail": json.dumps(dict(detail or {})),
        }
        return int((await self._connection.execute(_OPEN, params)).scalar_one()) == 1

    async def close(self, kind: AlertKind, subject: str) -> bool:
        """Close the open alert of a kind and subject; true where there was one."""
        closed = await self._connection.execute(_CLOSE, {"kind": kind.value, "subject": subject})
        return closed.rowcount > 0

    async def close_one(self, alert_id: UUID) -> bool:
        """Close an alert by its id; false where it is not open."""
        return (await self._connection.execute(_CLOSE_ONE, {"id": alert_id})).rowcount > 0

    async def get(self, alert_id: UUID) -> Alert | None:
        """Return one alert."""
        query = select(AlertRow.__table__).where(AlertRow.id == alert_id)
        row = (await self._connection.execute(query)).mappings().first()
        return _alert(row) if row else None

    async def page(
        self, *, open_only: bool, account_id: UUID | None, kind: AlertKind | None, before: UUID | None, limit: int
    ) -> list[Alert]:
        """Return alerts, newest first."""
        query = select(AlertRow.__table__).order_by(AlertRow.id.desc()).limit(limit)
        if open_only:
            query = query.where(AlertRow.closed_at.is_(None))
        if account_id is not None:
            query = query.where(AlertRow.account_id == account_id)
        if kind is not None:
            query = query.where(AlertRow.kind == kind)
        if before is not None:
            query = query.where(AlertRow.id < before)
        rows = (await self._connection.execute(query)).mappings()
        return [_alert(row) for row in rows]


def _alert(row: RowMapping) -> Alert:
    return Alert(**{**row, "kind": AlertKind(row["kind"]), "severity": Severity(row["severity"])})
