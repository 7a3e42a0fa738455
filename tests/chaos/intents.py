"""What is ordered: a seeded mix of order types, urgencies and accounts around one price."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from tests.harness.paper_control import FIRST_PRICE

Body = dict[str, str | int]

_KINDS = ("market", "marketable", "resting", "stop_limit", "stop_market", "ioc")
_KIND_WEIGHTS = (40, 20, 10, 10, 5, 15)
_URGENCIES = ("NORMAL", "HIGH", "CRITICAL", "STOP_LOSS")
_URGENCY_WEIGHTS = (70, 10, 10, 10)
_NEAR, _FAR = Decimal("0.50"), Decimal("25.00")
"""Near enough for the walking price to come by, and so far that it never does."""


@dataclass(frozen=True, slots=True)
class Intent:
    """One order that a client wants, under the key with which it repeats its request."""

    key: str
    body: Body


def make_intents(count: int, *, seed: int, accounts: Sequence[str]) -> list[Intent]:
    """Return the intents of a seed; the same seed gives the same intents."""
    chance = random.Random(seed)
    return [Intent(key=f"chaos-{seed}-{number}", body=_body(chance, accounts)) for number in range(count)]


def _body(chance: random.Random, accounts: Sequence[str]) -> Body:
    side = chance.choice(("BUY", "SELL"))
    body: Body = {
        "account": chance.choice(accounts),
        "instrument": "NSE:YESBANK",
        "side": side,
        "quantity": chance.randint(1, 50),
        "product": chance.choice(("MIS", "CNC")),
        "urgency": chance.choices(_URGENCIES, _URGENCY_WEIGHTS)[0],
    }
    better = Decimal(-1 if side == "BUY" else 1)
    match chance.choices(_KINDS, _KIND_WEIGHTS)[0]:
        case "market":
            body["order_type"] = "MARKET"
        case "marketable":
            body |= {"order_type": "LIMIT", "price": str(FIRST_PRICE - better * _FAR)}
        case "resting":
            body |= {"order_type": "LIMIT", "price": str(FIRST_PRICE + better * chance.choice((_NEAR, _FAR)))}
        case "stop_limit":
            trigger = FIRST_PRICE - better * _NEAR
            body |= {"order_type": "SL", "trigger_price": str(trigger), "price": str(trigger - better * _NEAR)}
        case "stop_market":
            body |= {"order_type": "SL-M", "trigger_price": str(FIRST_PRICE - better * _NEAR)}
        case _:
            price = FIRST_PRICE + better * chance.choice((_NEAR, -_NEAR))
            body |= {"order_type": "LIMIT", "price": str(price), "validity": "IOC"}
    return body
