"""Reading fields of JSON requests by hand: exact, bounded, and with an error that names the field."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from app.core.errors import SaudaError

type Json = bool | int | float | str | list[Json] | dict[str, Json] | None

TEXT_MAX = 64
NUMBER_CHARACTERS_MAX = 24
DECIMAL_PLACES_MAX = 10
PRICE_MAX = Decimal(10) ** 9
_PRINTABLE = re.compile(r"[ -~]*\Z")


class BadField(SaudaError):
    """A field is missing or cannot be read; `field` names it."""

    code = "bad_field"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


def parse_object(body: bytes) -> dict[str, Json]:
    """Parse a body that must be one JSON object; raises `BadField`."""
    try:
        parsed: Json = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadField("body", "is not JSON") from error
    return as_object("body", parsed)


def as_object(field: str, value: Json) -> dict[str, Json]:
    """Return a JSON object; raises `BadField`."""
    if not isinstance(value, dict):
        raise BadField(field, "must be an object")
    return value


def as_list(field: str, value: Json, *, longest: int) -> list[Json]:
    """Return a JSON array of at most `longest` entries; raises `BadField`."""
    if not isinstance(value, list) or len(value) > longest:
        raise BadField(field, f"must be an array of at most {longest}")
    return value


def text(body: Mapping[str, Json], field: str, *, default: str | None = None, longest: int = TEXT_MAX) -> str:
    """Return a string of printable ASCII; raises `BadField` when it is missing, too long or something else."""
    value = body.get(field)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or len(value) > longest or not _PRINTABLE.match(value):
        raise BadField(field, f"must be a text of at most {longest} printable characters")
    return value


def required_text(body: Mapping[str, Json], field: str, *, longest: int = TEXT_MAX) -> str:
    """Return a string that is not empty; raises `BadField`."""
    value = text(body, field, longest=longest)
    if not value:
        raise BadField(field, "must not be empty")
    return value


def choice[E: StrEnum](body: Mapping[str, Json], field: str, kind: type[E]) -> E:
    """Return one of the values of an enum; raises `BadField`."""
    try:
        return kind(text(body, field))
    except ValueError as error:
        raise BadField(field, f"must be one of {', '.join(kind)}") from error


def number(body: Mapping[str, Json], field: str, *, default: Decimal | None = None) -> Decimal:
    """Return a finite decimal, given as a number or as a string of one; raises `BadField`."""
    value = body.get(field)
    if value in (None, "") and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadField(field, "must be a number")
    written = str(value)
    if len(written) > NUMBER_CHARACTERS_MAX:
        raise BadField(field, "has too many digits")
    try:
        parsed = Decimal(written)
    except InvalidOperation as error:
        raise BadField(field, "must be a number") from error
    if not parsed.is_finite() or abs(parsed) > PRICE_MAX:
        raise BadField(field, f"must be a number of at most {PRICE_MAX}")
    if parsed != round(parsed, DECIMAL_PLACES_MAX):
        raise BadField(field, f"must have at most {DECIMAL_PLACES_MAX} decimal places")
    return parsed


def whole(body: Mapping[str, Json], field: str, *, default: int | None = None) -> int:
    """Return a whole number, given as a number or as a string of one; raises `BadField`."""
    parsed = number(body, field, default=None if default is None else Decimal(default))
    if parsed != parsed.to_integral_value():
        raise BadField(field, "must be a whole number")
    return int(parsed)
