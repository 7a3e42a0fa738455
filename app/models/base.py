"""What all tables share: naming of constraints and the column types of ids, times and money."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, MetaData, Numeric, Text, Uuid
from sqlalchemy.orm import DeclarativeBase, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

Id = Annotated[UUID, mapped_column(Uuid)]
Moment = Annotated[datetime, mapped_column(DateTime(timezone=True))]
Price = Annotated[Decimal, mapped_column(Numeric(18, 6))]
Money = Annotated[Decimal, mapped_column(Numeric(24, 6))]


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar = {str: Text}


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """Return a check that a text column holds one of an enumeration's values."""
    names = ", ".join(f"'{value.value}'" for value in values)
    return CheckConstraint(f"{column} IN ({names})", name=column)
