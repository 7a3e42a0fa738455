"""Which row could be which order: what a row says may exclude, what it does not say never does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.core.attribution import Claimant, adoptable, could_be
from app.core.instruments import Exchange
from app.core.orders import OrderType, Product, Side
from app.core.ports import BrokerOrder, BrokerOrderState

CLAIMED = datetime(2026, 9, 21, 5, 0, 10, tzinfo=UTC)
ORDER = Claimant(
    order_id=UUID(int=1),
    exchange=Exchange.NSE,
    trading_symbol="YESBANK-EQ",
    token="11915",
    side=Side.BUY,
    quantity=10,
    order_type=OrderType.LIMIT,
    product=Product.MIS,
    price=Decimal("182.65"),
    trigger_price=None,
    claimed_at=CLAIMED,
    market_time=CLAIMED - timedelta(seconds=1),
    is_unknown=True,
)
ROW = BrokerOrder(
    broker_order_id="B1",
    broker_unique_id="u1",
    tag=None,
    exchange=Exchange.NSE,
    trading_symbol="YESBANK-EQ",
    side=Side.BUY,
    quantity=10,
    filled_quantity=0,
    average_price=Decimal(0),
    state=BrokerOrderState.WORKING,
    raw_status="open",
    text="",
    token="11915",
    order_type=OrderType.LIMIT,
    product=Product.MIS,
    price=Decimal("182.65"),
    updated_at=CLAIMED,
)


@pytest.mark.parametrize(
    ("order", "row"),
    [
        ({}, {}),
        ({}, {"price": Decimal("182.6500")}),
        ({}, {"token": None, "order_type": None, "product": None, "price": None, "updated_at": None}),
        ({}, {"trading_symbol": "YESBANK", "token": "11915"}),
        ({"token": None}, {}),
        ({"token": None, "trading_symbol": None}, {"trading_symbol": "anything"}),
        ({}, {"updated_at": CLAIMED - timedelta(seconds=6)}),
        ({}, {"updated_at": CLAIMED + timedelta(hours=3)}),
        ({"claimed_at": None}, {}),
        ({"market_time": CLAIMED - timedelta(days=2000)}, {"updated_at": CLAIMED - timedelta(days=1999)}),
        ({"order_type": OrderType.MARKET, "price": None}, {"price": Decimal(190)}),
        ({"order_type": OrderType.MARKET, "price": None}, {"order_type": OrderType.MARKET, "price": None}),
        ({"order_type": OrderType.SL, "trigger_price": Decimal(182)}, {"order_type": OrderType.LIMIT}),
        ({"order_type": OrderType.SL_M, "price": None, "trigger_price": Decimal(182)}, {"price": Decimal(179)}),
    ],
)
def test_a_row_that_contradicts_nothing_could_be_the_order(order: dict[str, Any], row: dict[str, Any]) -> None:
    assert could_be(replace(ORDER, **order), replace(ROW, **row))


@pytest.mark.parametrize(
    ("order", "row"),
    [
        ({}, {"exchange": Exchange.BSE}),
        ({}, {"side": Side.SELL}),
        ({}, {"quantity": 11}),
        ({}, {"token": "3045"}),
        ({"token": None}, {"trading_symbol": "SBIN-EQ"}),
        ({}, {"token": None, "trading_symbol": "SBIN-EQ"}),
        ({}, {"order_type": OrderType.MARKET}),
        ({}, {"order_type": OrderType.SL}),
        ({}, {"product": Product.CNC}),
        ({}, {"price": Decimal("182.70")}),
        ({"order_type": OrderType.SL, "trigger_price": Decimal(182)}, {"trigger_price": Decimal(181)}),
        ({}, {"updated_at": CLAIMED - timedelta(seconds=6, microseconds=1)}),
        ({"market_time": CLAIMED + timedelta(days=1)}, {"updated_at": CLAIMED - timedelta(seconds=6)}),
    ],
)
def test_one_contradiction_excludes(order: dict[str, Any], row: dict[str, Any]) -> None:
    assert not could_be(replace(ORDER, **order), replace(ROW, **row))


def pairs(claimants: list[Claimant], rows: list[BrokerOrder], *tagless: str) -> list[tuple[UUID, str]]:
    found = adoptable(claimants, rows, proven_tagless=frozenset(tagless))
    return [(order.order_id, row.broker_order_id) for order, row in found]


TWIN = replace(ORDER, order_id=UUID(int=2))
OTHER_ROW = replace(ROW, broker_order_id="B2")


def test_the_only_row_of_the_only_claimant_is_adoptable() -> None:
    assert pairs([ORDER], [ROW], "B1") == [(ORDER.order_id, "B1")]


@pytest.mark.parametrize(
    ("claimants", "rows", "tagless"),
    [
        ([ORDER], [ROW], []),
        ([ORDER], [ROW, OTHER_ROW], ["B1", "B2"]),
        ([ORDER], [ROW, OTHER_ROW], ["B1"]),
        ([ORDER, TWIN], [ROW], ["B1"]),
        ([ORDER, TWIN], [ROW, OTHER_ROW], ["B1", "B2"]),
        ([ORDER, replace(TWIN, is_unknown=False)], [ROW], ["B1"]),
        ([replace(ORDER, is_unknown=False)], [ROW], ["B1"]),
        ([ORDER], [], ["B1"]),
    ],
)
def test_doubt_adopts_nothing(claimants: list[Claimant], rows: list[BrokerOrder], tagless: list[str]) -> None:
    assert pairs(claimants, rows, *tagless) == []


def test_orders_that_differ_are_adopted_beside_each_other() -> None:
    large, large_row = replace(TWIN, quantity=20), replace(OTHER_ROW, quantity=20)
    assert pairs([ORDER, large], [ROW, large_row], "B1", "B2") == [(ORDER.order_id, "B1"), (large.order_id, "B2")]
