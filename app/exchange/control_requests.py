"""Reading the requests of the control endpoints. Every error names its field."""

import binascii
import re
from datetime import UTC, datetime
from decimal import Decimal

import httpx
import pyotp

from app.exchange.accounts import Account
from app.exchange.faults import DELAY_MS_MAX, DURATION_MS_MAX, RULES_MAX, FaultKind, FaultRule, Op
from app.exchange.fields import BadField, Json, as_list, as_object, choice, number, required_text, text, whole
from app.exchange.instruments import InstrumentIndex
from app.exchange.lockstep import Step
from app.exchange.prices import Print

PRICES_MAX = 5_000
VOLUME_MAX = 10**12
OFFSET_MS_MAX = 48 * 60 * 60 * 1000
URL_MAX = 500
_CLIENT_CODE = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")


def read_account(body: dict[str, Json]) -> Account:
    """Read a new paper account; raises `BadField`."""
    client_code = required_text(body, "client_code")
    if not _CLIENT_CODE.match(client_code):
        raise BadField("client_code", "must be letters, digits, dashes and underscores")
    secret = required_text(body, "totp_secret")
    try:
        pyotp.TOTP(secret).now()
    except (binascii.Error, ValueError) as error:
        raise BadField("totp_secret", "must be base-32 of at least 112 bits") from error
    cash = number(body, "cash")
    if cash < 0:
        raise BadField("cash", "must not be negative")
    return Account(
        client_code=client_code,
        pin=required_text(body, "pin"),
        totp_secret=secret,
        api_key=required_text(body, "api_key"),
        start_cash=cash,
        cash=cash,
    )


def read_prints(body: dict[str, Json], instruments: InstrumentIndex) -> tuple[Print, ...]:
    """Read the prices of a request, one an instrument at most; raises `BadField`."""
    prints: dict[str, Print] = {}
    for entry in as_list("prices", body.get("prices"), longest=PRICES_MAX):
        row = as_object("prices", entry)
        key = f"{required_text(row, 'exchange')}:{required_text(row, 'token')}"
        if instruments.get(key) is None:
            raise BadField("prices", f"{key} is not listed here")
        if key in prints:
            raise BadField("prices", f"{key} has more than one price")
        price = number(row, "price")
        if price <= 0:
            raise BadField("price", "must be positive")
        prints[key] = Print(key=key, price=price, volume=_volume(row))
    return tuple(prints.values())


def read_step(body: dict[str, Json], instruments: InstrumentIndex) -> Step:
    """Read a step of a run; raises `BadField`."""
    step = whole(body, "step")
    if step < 0:
        raise BadField("step", "must not be negative")
    return Step(
        run=required_text(body, "run"), number=step, time=_utc(body, "time"), prints=read_prints(body, instruments)
    )


def read_offset_ms(body: dict[str, Json]) -> int:
    """Read how far the exchange's clock is set off, in milliseconds; raises `BadField`."""
    offset_ms = whole(body, "offset_ms")
    if abs(offset_ms) > OFFSET_MS_MAX:
        raise BadField("offset_ms", f"must lie between -{OFFSET_MS_MAX} and {OFFSET_MS_MAX}")
    return offset_ms


def read_postback_url(body: dict[str, Json]) -> str:
    """Read the address that gets postbacks, empty for none; raises `BadField`."""
    url = text(body, "url", longest=URL_MAX)
    try:
        address = httpx.URL(url)
        usable = not url or (address.scheme in ("http", "https") and bool(address.host))
    except httpx.InvalidURL:
        usable = False
    if not usable:
        raise BadField("url", "must be an address that begins with http:// or https://")
    return url


def read_faults(body: dict[str, Json]) -> tuple[int, list[FaultRule]]:
    """Read the seed and the rules of the fault knobs; raises `BadField`."""
    rules = as_list("rules", body.get("rules"), longest=RULES_MAX)
    return whole(body, "seed", default=0), [_rule(as_object("rules", rule)) for rule in rules]


def _rule(row: dict[str, Json]) -> FaultRule:
    probability = number(row, "probability", default=Decimal(1))
    if not 0 <= probability <= 1:
        raise BadField("probability", "must lie between 0 and 1")
    delay_ms = whole(row, "delay_ms", default=0)
    if not 0 <= delay_ms <= DELAY_MS_MAX:
        raise BadField("delay_ms", f"must lie between 0 and {DELAY_MS_MAX}")
    duration_ms = whole(row, "duration_ms", default=0)
    if not 0 <= duration_ms <= DURATION_MS_MAX:
        raise BadField("duration_ms", f"must lie between 0 and {DURATION_MS_MAX}")
    limit = None if row.get("limit") is None else whole(row, "limit")
    if limit is not None and limit < 0:
        raise BadField("limit", "must not be negative")
    ops = as_list("ops", row.get("ops", ["any"]), longest=len(Op))
    return FaultRule(
        kind=choice(row, "kind", FaultKind),
        probability=float(probability),
        ops=frozenset(choice({"ops": op}, "ops", Op) for op in ops),
        delay_ms=delay_ms,
        duration_ms=duration_ms,
        limit=limit,
    )


def _volume(row: dict[str, Json]) -> int | None:
    if row.get("volume") is None:
        return None
    volume = whole(row, "volume")
    if not 0 <= volume <= VOLUME_MAX:
        raise BadField("volume", f"must lie between 0 and {VOLUME_MAX}")
    return volume


def _utc(body: dict[str, Json], field: str) -> datetime:
    try:
        moment = datetime.fromisoformat(required_text(body, field))
        if moment.tzinfo is None:
            raise BadField(field, "must name its offset, such as 2019-01-01T03:45:00+00:00")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadField(field, "must be an ISO 8601 time") from error
