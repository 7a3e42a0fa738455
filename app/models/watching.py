"""What people should look at, and what people did."""

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, Integer, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.alerts import AlertKind, Severity
from app.models.base import Base, Id, Moment, one_of


class AlertRow(Base):
    """Something that a person should look at. Open until its duty, or a person, closes it."""

    __tablename__ = "alerts"
    id: Mapped[Id] = mapped_column(primary_key=True)
    kind: Mapped[str]
    subject: Mapped[str]
    severity: Mapped[str]
    account_id: Mapped[Id | None] = mapped_column(ForeignKey("broker_accounts.id"))
    order_id: Mapped[Id | None] = mapped_column(ForeignKey("orders.id"))
    message: Mapped[str]
    detail: Mapped[dict[str, str]] = mapped_column(JSONB, server_default="{}")
    count: Mapped[int] = mapped_column(Integer, server_default="1")
    opened_at: Mapped[Moment] = mapped_column(server_default=func.clock_timestamp())
    seen_at: Mapped[Moment] = mapped_column(server_default=func.clock_timestamp())
    closed_at: Mapped[Moment | None]
    __table_args__ = (
        one_of("kind", AlertKind),
        one_of("severity", Severity),
        Index("uq_alerts_open", "kind", "subject", unique=True, postgresql_where="closed_at IS NULL"),
    )


class AuditRow(Base):
    """Something that a person did and that changed a state. Append-only: a trigger refuses the rest."""

    __tablename__ = "audit_log"
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[Moment] = mapped_column(server_default=func.clock_timestamp())
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    reason: Mapped[str | None]
    detail: Mapped[dict[str, str]] = mapped_column(JSONB, server_default="{}")
