"""What all of the wire shares. Money is text, times carry the Indian offset, unknown fields are refused."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from app.infra.clock import IST

Moment = Annotated[
    datetime,
    PlainSerializer(lambda value: value.astimezone(IST).isoformat(), return_type=str),
    Field(examples=["2019-01-01T09:16:00+05:30"]),
]
Rupees = Annotated[
    Decimal, PlainSerializer(lambda value: format(value, "f"), return_type=str), Field(examples=["182.65"])
]
PriceIn = Annotated[Decimal, Field(gt=0, max_digits=14, decimal_places=4, allow_inf_nan=False, examples=["182.65"])]


class Credentials(BaseModel):
    """A user's name and password."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"username": "admin", "password": "the one shown at set-up"}]}
    )

    username: str = Field(min_length=1, max_length=64, pattern=r"^[^\x00]+$")
    password: str = Field(min_length=1, max_length=256)


class Token(BaseModel):
    """A token for the Authorization header: `Bearer <access_token>`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "access_token": "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl",
                    "token_type": "bearer",
                    "expires_at": "2019-01-01T21:16:00+05:30",
                }
            ]
        }
    )

    access_token: str
    token_type: str = Field(examples=["bearer"])
    expires_at: Moment


class ReasonIn(BaseModel):
    """Why a person does something; it is kept in the audit log."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "checked at the broker"}]})

    reason: str = Field(min_length=1, max_length=500, pattern=r"^[^\x00]+$")


class Health(BaseModel):
    """How this process and what it leans on are."""

    status: str = Field(examples=["ok"])
    components: dict[str, str] = Field(examples=[{"database": "ok", "redis": "ok"}])
