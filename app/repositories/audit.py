"""The audit log: what people did. Rows are only ever added."""

import json
from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_ADD = text("""
INSERT INTO audit_log (actor, action, subject, reason, detail)
VALUES (:actor, :action, :subject, :reason, CAST(:detail AS jsonb))
""")


class AuditRepository:
    """SQL of the audit_log table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(
        self,
        *,
        actor: str,
        action: str,
        subject: str,
        reason: str | None = None,
        detail: Mapping[str, str] | None = None,
    ) -> None:
        """Write down what `actor` did to `subject`, in the transaction that does it. Never give it a secret."""
        await self._connection.execute(
            _ADD,
            {
                "actor": actor,
                "action": action,
                "subject": subject,
                "reason": reason,
                "detail": json.dumps(dict(detail or {})),
            },
        )
