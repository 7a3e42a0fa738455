"""What is ordered, and how it is changed afterwards: a seeded mix around the price of two instruments."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from tests.harness.paper_control import FIRST_PRICE, YESBANK_TOKEN

Body = dict[str, str | int]

_KINDS = ("market", "marketable", "resting", "stop_limit", "stop_market", "ioc")
_KIND_WEIGHTS = (35, 17, 18, 12, 6, 12)
_URGENCIES = ("NORMAL", "HIGH", "CRITICAL", "STOP_LOSS")
_URGENCY_WEIGHTS = (70, 10, 10, 10)
_NEAR, _FAR = Decimal("0.50"), Decimal("25.00")
"""Near enough for the walking price to come by, and so far that it never does."""

_TICK = Decimal("0.05")
"""A multiple of both instruments' tick sizes."""

CANCELLED, MODIFIED, EXITS, WITH_DEADLINE = 0.15, 0.10, 0.08, 0.08
"""Shares of the orders. Exits are refused where there is nothing to reduce, which is an answer like others."""

ROUND, ROUND_QUANTITIES = 0.4, (10, 25, 50)
"""People like round numbers, so that orders are alike: without tags nobody can tell them apart."""

DEADLINE_MIN_S, DEADLINE_MAX_S = 1.0, 6.0
AT_ONCE, SOON, LATER = (0.0, 0.0), (0.1, 1.5), (2.0, 8.0)
TWICE = 0.3


@dataclass(frozen=True, slots=True)
class Traded:
    """An instrument that is ordered, with the price around which it walks."""

    key: str
    token: str
    price: Decimal
    tick: Decimal = Decimal("0.05")


INSTRUMENTS = (
    Traded("NSE:YESBANK", YESBANK_TOKEN, FIRST_PRICE),
    Traded("NSE:JUNIORBEES", "10939", Decimal("284.30")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A cancel (no body) or a modification, so long after the order was answered."""

    key: str
    after_s: float
    body: Body | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One order that a client wants, under the key with which it repeats its request, and its changes."""

    key: str
    body: Body
    deadline_in_s: float | None = None
    changes: tuple[Change, ...] = ()


def make_intents(count: int, *, seed: int, accounts: Sequence[str]) -> list[Intent]:
    """Return the intents of a seed; the same seed gives the same intents."""
    chance = random.Random(seed)
    return [_intent(chance, f"chaos-{seed}-{number}", accounts) for number in range(count)]


def _intent(chance: random.Random, key: str, accounts: Sequence[str]) -> Intent:
    body = _body(chance, accounts)
    deadline = chance.uniform(DEADLINE_MIN_S, DEADLINE_MAX_S) if chance.random() < WITH_DEADLINE else None
    changes: list[Change] = []
    if chance.random() < MODIFIED:
        changes.append(Change(key=f"{key}-modify", after_s=_moment(chance), body=_terms(chance, body)))
    if chance.random() < CANCELLED:
        changes.append(Change(key=f"{key}-cancel", after_s=_moment(chance)))
        if chance.random() < TWICE:
            changes.append(Change(key=f"{key}-cancel-2", after_s=_moment(chance)))
    return Intent(key=key, body=body, deadline_in_s=deadline, changes=tuple(changes))


def _moment(chance: random.Random) -> float:
    return chance.uniform(*chance.choice((AT_ONCE, SOON, LATER)))


def _body(chance: random.Random, accounts: Sequence[str]) -> Body:
    side = chance.choice(("BUY", "SELL"))
    traded = chance.choice(INSTRUMENTS)
    body: Body = {
        "account": chance.choice(accounts),
        "instrument": traded.key,
        "side": side,
        "quantity": chance.choice(ROUND_QUANTITIES) if chance.random() < ROUND else chance.randint(1, 50),
        "product": chance.choice(("MIS", "CNC")),
        "urgency": chance.choices(_URGENCIES, _URGENCY_WEIGHTS)[0],
        "purpose": "EXIT" if chance.random() < EXITS else "ENTRY",
    }
    better = Decimal(-1 if side == "BUY" else 1)
    match chance.choices(_KINDS, _KIND_WEIGHTS)[0]:
        case "market":
            body["order_type"] = "MARKET"
        case "marketable":
            body |= {"order_type": "LIMIT", "price": str(traded.price - better * _FAR)}
        case "resting":
            body |= {"order_type": "LIMIT", "price": str(traded.price + better * chance.choice((_NEAR, _FAR)))}
        case "stop_limit":
            trigger = traded.price - better * chance.choice((_NEAR, _FAR))
            body |= {"order_type": "SL", "trigger_price": str(trigger), "price": str(trigger - better * _NEAR)}
        case "stop_market":
            body |= {"order_type": "SL-M", "trigger_price": str(traded.price - better * chance.choice((_NEAR, _FAR)))}
        case _:
            price = traded.price + better * chance.choice((_NEAR, -_NEAR))
            body |= {"order_type": "LIMIT", "price": str(price), "validity": "IOC"}
    return body


def _terms(chance: random.Random, body: Body) -> Body:
    """Return what a modification states: one or two terms, off by a little."""
    terms: Body = {}
    if "price" in body and chance.random() < 0.7:
        terms["price"] = str(Decimal(body["price"]) + _TICK * chance.choice((-3, -1, 1, 3)))
    if "trigger_price" in body and "price" not in terms:
        terms["trigger_price"] = str(Decimal(body["trigger_price"]) + _TICK * chance.choice((-3, -1, 1, 3)))
    if not terms or chance.random() < 0.3:
        terms["quantity"] = int(body["quantity"]) + chance.choice((-5, 1, 5, 20))
        if terms["quantity"] < 1:
            terms["quantity"] = 60
    return terms
