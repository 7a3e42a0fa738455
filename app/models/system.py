"""Leases of the roles of which only one process is active."""

from sqlalchemy import BigInteger, CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Moment


class LeaseRow(Base):
    """Who leads a role, by database time. The epoch grows with each new holder and fences the old one's writes."""

    __tablename__ = "leases"
    role: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    epoch: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[Moment]
    __table_args__ = (CheckConstraint("epoch > 0", name="epoch"),)
