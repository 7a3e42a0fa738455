"""Orders that have traded in part can be changed and cancelled, and every rupee stays right."""

from decimal import Decimal
from typing import Any

import pytest

from app.core.fees import order_fees
from app.core.orders import Side
from tests.harness.smartapi import LIMIT_BUY, MARKET_BUY, SECURE, STOP_SELL, WireClient
from tests.integration.exchange.conftest import RATES

START_CASH = Decimal("1000000.00")


async def modify(wire: WireClient, order_id: str, **changes: str) -> dict[str, Any]:
    body = LIMIT_BUY | {"orderid": order_id} | changes
    answer: dict[str, Any] = (await wire.post(f"{SECURE}/order/v1/modifyOrder", body)).json()
    return answer


async def cancel(wire: WireClient, order_id: str, variety: str = "NORMAL") -> dict[str, Any]:
    body = {"orderid": order_id, "variety": variety}
    answer: dict[str, Any] = (await wire.post(f"{SECURE}/order/v1/cancelOrder", body)).json()
    return answer


async def summary(wire: WireClient) -> dict[str, Any]:
    answer: dict[str, Any] = (await wire.control("GET", "/control/ledger/P100/summary")).json()
    return answer


async def partly_filled(wire: WireClient, units: int = 4) -> str:
    """A resting purchase of 10 at 149.00 of which some units have traded."""
    order_id = await wire.placed(LIMIT_BUY)
    await wire.print_price("149.00", units * 4)
    row = (await wire.book())[order_id]
    assert (row["orderstatus"], row["filledshares"]) == ("open", str(units))
    return order_id


async def test_a_partly_filled_order_takes_new_price_and_quantity_and_its_average_and_fees_stay_right(
    wire: WireClient,
) -> None:
    order_id = await partly_filled(wire)
    assert (await modify(wire, order_id, price="150.00", quantity="12"))["status"] is True
    await wire.print_price("149.50")
    row = (await wire.book())[order_id]
    value = 4 * Decimal("149.00") + 8 * Decimal("149.50")
    assert (row["orderstatus"], row["quantity"], row["filledshares"]) == ("complete", "12", "12")
    assert Decimal(row["averageprice"]) == (value / 12).quantize(Decimal("0.0001"))

    told = await summary(wire)
    fees = order_fees(RATES, side=Side.BUY, turnover=value)
    assert Decimal(told["fees"]) == fees
    assert Decimal(told["cash"]) == START_CASH - value - fees
    (position,) = told["positions"]
    assert (position["quantity"], Decimal(position["open_cost"])) == (12, value)


async def test_a_quantity_lowered_to_what_has_traded_completes_the_order(wire: WireClient) -> None:
    order_id = await partly_filled(wire)
    assert (await modify(wire, order_id, quantity="4"))["status"] is True
    row = (await wire.book())[order_id]
    assert (row["orderstatus"], row["quantity"], row["unfilledshares"]) == ("complete", "4", "0")
    await wire.print_price("148.00")
    assert len(await wire.trades()) == 1
    assert (await summary(wire))["terminal"] == 1


async def test_a_quantity_below_what_has_traded_is_refused_and_changes_nothing(wire: WireClient) -> None:
    order_id = await partly_filled(wire)
    before = await wire.book()
    assert (await modify(wire, order_id, quantity="3"))["status"] is False
    assert await wire.book() == before


async def test_a_cancelled_rest_keeps_what_has_traded(wire: WireClient) -> None:
    order_id = await partly_filled(wire)
    cash = (await summary(wire))["cash"]
    assert (await cancel(wire, order_id))["status"] is True
    await wire.print_price("140.00")
    row = (await wire.book())[order_id]
    assert (row["orderstatus"], row["filledshares"], row["cancelsize"]) == ("cancelled", "4", "6")
    assert (await summary(wire))["cash"] == cash


async def test_a_limit_order_can_become_a_market_order(wire: WireClient) -> None:
    await wire.print_price("150.00")
    order_id = await wire.placed(LIMIT_BUY)
    assert (await modify(wire, order_id, ordertype="MARKET", price="0"))["status"] is True
    assert (await wire.book())[order_id]["orderstatus"] == "complete"


@pytest.mark.parametrize("ended", ["complete", "cancelled", "rejected"])
async def test_an_order_that_is_over_can_neither_be_changed_nor_cancelled(wire: WireClient, ended: str) -> None:
    if ended == "rejected":
        order_id = await wire.placed(MARKET_BUY)
    else:
        order_id = await wire.placed(LIMIT_BUY)
        if ended == "complete":
            await wire.print_price("149.00")
        else:
            await cancel(wire, order_id)
    before = await wire.book()
    assert before[order_id]["orderstatus"] == ended
    assert (await modify(wire, order_id, price="140.00"))["errorcode"] == "AB1013"
    assert (await cancel(wire, order_id))["errorcode"] == "AB1013"
    assert await wire.book() == before


@pytest.mark.parametrize(
    ("side", "trigger", "rests", "fires"),
    [("SELL", "148.00", ("149.00", "148.05"), "148.00"), ("BUY", "151.00", ("150.00", "150.95"), "151.00")],
)
async def test_slm_keeps_trigger(wire: WireClient, side: str, trigger: str, rests: tuple[str, str], fires: str) -> None:
    await wire.print_price("149.50")
    order_id = await wire.placed(STOP_SELL, transactiontype=side, triggerprice=trigger, price="0")
    for price in rests:
        await wire.print_price(price)
        row = (await wire.book())[order_id]
        assert (row["orderstatus"], row["ordertype"], row["triggerprice"]) == (
            "trigger pending",
            "STOPLOSS_MARKET",
            trigger,
        )
    assert await wire.trades() == []
    await wire.print_price(fires)
    assert (await wire.book())[order_id]["orderstatus"] == "complete"
    assert [trade["fillprice"] for trade in await wire.trades()] == [fires]


async def test_a_stop_whose_trigger_is_through_already_fires_at_once(wire: WireClient) -> None:
    await wire.print_price("147.00")
    order_id = await wire.placed(STOP_SELL)
    assert (await wire.book())[order_id]["orderstatus"] == "complete"


async def test_a_stop_with_a_new_trigger_waits_for_the_new_one(wire: WireClient) -> None:
    await wire.print_price("150.00")
    order_id = await wire.placed(STOP_SELL)
    assert (await modify(wire, order_id, **STOP_SELL | {"triggerprice": "146.00"}))["status"] is True
    await wire.print_price("147.00")
    assert (await wire.book())[order_id]["orderstatus"] == "trigger pending"
    await wire.print_price("146.00")
    assert (await wire.book())[order_id]["orderstatus"] == "complete"
