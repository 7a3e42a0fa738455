"""The values inside SmartAPI's JSON. Its types drift (numbers as text here, as numbers there), its meaning must not."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal

from app.infra.clock import IST

TEXT_MAX = 200
NUMBER_CHARACTERS_MAX = 40

_ID = re.compile(r"[\x21-\x7e]{1,64}", re.ASCII)
_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}", re.ASCII)
# SmartAPI writes some negative amounts with a space after the sign.
_NUMBER = re.compile(r"(-?) ?([0-9]{1,15}(?:\.[0-9]{1,10})?)", re.ASCII)
_CLOCK = re.compile(r"([0-9]{2}):([0-9]{2}):([0-9]{2})", re.ASCII)
_MOMENT = re.compile(r"([0-9]{2})-([A-Z][a-z]{2})-([0-9]{4}) ([0-9:]{8})", re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DIGITS_MAX = 15


class Malformed(ValueError):
    """What the broker sent cannot be understood; the message names the part, never its content."""


def load_json(body: bytes | str) -> object:
    """Return the JSON value of a body, with exact decimals; raises `Malformed`."""
    try:
        return json.loads(body, parse_float=_decimal, parse_constant=_no_constant)
    except (ValueError, ArithmeticError, RecursionError):
        # Without its cause: a JSON error carries the whole document, and that may hold tokens.
        raise Malformed("body is not JSON") from None


def _decimal(written: str) -> Decimal:
    if len(written) > NUMBER_CHARACTERS_MAX:
        raise ValueError("a number has more digits than any price")
    return Decimal(written)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a number")


def mapping(value: object, what: str) -> Mapping[str, object]:
    """Return a JSON object; raises `Malformed`."""
    if not isinstance(value, dict):
        raise Malformed(f"{what} is not an object")
    return value


def rows(value: object, what: str) -> list[Mapping[str, object]]:
    """Return a list of JSON objects, in which null is SmartAPI's empty list; raises `Malformed`."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise Malformed(f"{what} is not a list")
    return [mapping(row, f"a row of {what}") for row in value]


def identifier(row: Mapping[str, object], key: str) -> str:
    """Return an id as text; raises `Malformed` when it is missing, blank or longer than any real id."""
    found = optional_identifier(row, key)
    if found is None:
        raise Malformed(f"{key} is missing")
    return found


def optional_identifier(row: Mapping[str, object], key: str) -> str | None:
    """Return an id as text, or None when the broker gave none; raises `Malformed` for any other type."""
    value = row.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        value = str(value) if value < 10**_DIGITS_MAX else ""
    if not isinstance(value, str) or _ID.fullmatch(value) is None:
        raise Malformed(f"{key} is not an id")
    return value


def token(row: Mapping[str, object], key: str) -> str:
    """Return a session token that may stand in a header; raises `Malformed`."""
    value = row.get(key)
    if not isinstance(value, str) or _TOKEN.fullmatch(value) is None:
        raise Malformed(f"{key} is not a token")
    return value


def text(row: Mapping[str, object], key: str) -> str:
    """Return text for people, bounded and on one line; null and missing are empty. Raises `Malformed`."""
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"{key} is not text")
    return one_line(value)


def one_line(value: str) -> str:
    """Return text without control characters, cut to what a log or a status reason can bear."""
    return "".join(char if char.isprintable() else " " for char in value[:TEXT_MAX]).strip()


def number(row: Mapping[str, object], key: str) -> Decimal:
    """Return a finite decimal of ordinary size, from a JSON number or from text; raises `Malformed`."""
    return to_number(row.get(key), key)


def to_number(value: object, what: str) -> Decimal:
    """Return a finite decimal of ordinary size, from a JSON number or from text; raises `Malformed`."""
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value.strip())
        if match is not None:
            return Decimal(match[1] + match[2])
    elif isinstance(value, int) and not isinstance(value, bool):
        if abs(value) < 10**_DIGITS_MAX:
            return Decimal(value)
    elif isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) < _DIGITS_MAX:
        return value
    raise Malformed(f"{what} is not a number")


def price(row: Mapping[str, object], key: str) -> Decimal:
    """Return a price in rupees that is not negative; raises `Malformed`."""
    value = number(row, key)
    if value < 0:
        raise Malformed(f"{key} is negative")
    return value


def optional_price(row: Mapping[str, object], key: str) -> Decimal | None:
    """Return a price in rupees, or None where there is none: zero, nothing, or what cannot be understood."""
    try:
        return price(row, key) or None
    except Malformed:
        return None


def optional_moment(row: Mapping[str, object], key: str) -> datetime | None:
    """Return a moment of India in UTC, or None where there is none that can be understood."""
    try:
        return exchange_moment(row.get(key), key)
    except Malformed:
        return None


def whole(row: Mapping[str, object], key: str) -> int:
    """Return a whole number of any sign; raises `Malformed`."""
    return to_whole(row.get(key), key)


def to_whole(value: object, what: str) -> int:
    """Return a whole number of any sign; raises `Malformed`."""
    found = to_number(value, what)
    if found != found.to_integral_value():
        raise Malformed(f"{what} is not whole")
    return int(found)


def count(row: Mapping[str, object], key: str) -> int:
    """Return a whole number that is not negative; raises `Malformed`."""
    value = whole(row, key)
    if value < 0:
        raise Malformed(f"{key} is negative")
    return value


def clock_time(value: object, what: str) -> time:
    """Return an `HH:MM:SS` time in India; raises `Malformed`."""
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    try:
        if match is not None:
            return time(int(match[1]), int(match[2]), int(match[3]), tzinfo=IST)
    except ValueError:
        pass
    raise Malformed(f"{what} is not a time")


def exchange_moment(value: object, what: str) -> datetime:
    """Return a `dd-Mon-yyyy HH:MM:SS` moment of India in UTC; raises `Malformed`."""
    match = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in _MONTHS:
        raise Malformed(f"{what} is not a moment")
    try:
        day = date(int(match[3]), _MONTHS.index(match[2]) + 1, int(match[1]))
    except ValueError:
        raise Malformed(f"{what} is not a moment") from None
    return in_utc(day, clock_time(match[4], what), what)


def in_utc(day: date, at: time, what: str) -> datetime:
    """Return a time of a day in UTC; raises `Malformed` at the ends of the calendar."""
    try:
        return datetime.combine(day, at).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Malformed(f"{what} is out of range") from None
