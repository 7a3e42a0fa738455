"""Lock-step: nothing moves between steps, arrivals trade in the order of their tags, and a step happens once."""

import random
from datetime import timedelta

import pytest

from tests.harness.smartapi import LIMIT_BUY, MARKET_BUY, STOP_SELL, WireClient
from tests.integration.exchange.conftest import Desk

OPENING = "2019-01-01T03:45:00+00:00"
LATER = "2019-01-01T03:46:00+00:00"
TEN_PAST = "2019-01-01T03:55:01+00:00"
CLOSING = "2019-01-01T10:00:00+00:00"
AFTER_CLOSE = "2019-01-01T10:01:00+00:00"
NEXT_DAY = "2019-01-02T03:45:00+00:00"


@pytest.fixture
async def lockstep(wire: WireClient) -> WireClient:
    """A client of a market that moves only when it is stepped."""
    assert (await wire.control("POST", "/control/mode", {"mode": "lockstep"})).status_code == 200
    return wire


async def standing(wire: WireClient, order_id: str) -> tuple[str, int, str]:
    orders = (await wire.control("GET", "/control/ledger/P100")).json()["orders"]
    row = next(order for order in orders if order["order_id"] == order_id)
    return row["status"], row["filled"], row["text"]


async def test_an_arrival_is_held_and_trades_at_the_next_steps_price(lockstep: WireClient) -> None:
    await lockstep.step(1, OPENING, ("150.00", None))
    order_id = await lockstep.placed(MARKET_BUY)
    assert (await lockstep.book())[order_id]["orderstatus"] == "open pending"
    answer = await lockstep.step(2, LATER, ("151.00", None))
    assert answer == {"time": LATER, "seq": 2, "clients": {"P100": {"orders": 1, "trades": 1, "terminal": 1}}}
    (trade,) = await lockstep.trades()
    assert (trade["fillprice"], trade["filltime"]) == ("151.00", "09:16:00")
    assert (await lockstep.book())[order_id]["exchtime"] == "01-Jan-2019 09:16:00"


async def replay(desk: Desk, seed: int) -> list[tuple[str, str, str]]:
    """Place five tagged orders in a shuffled order, with too little volume for all."""
    wire = await desk.enter(desk.open(), f"R{seed}")
    await wire.control("POST", "/control/mode", {"mode": "lockstep"})
    await wire.step(1, OPENING, ("150.00", None), run=f"R{seed}")
    tags = ["SDA", "SDB", "SDC", "SDD", "SDE"]
    random.Random(seed).shuffle(tags)
    for tag in tags:
        await wire.placed(LIMIT_BUY, ordertag=tag, price="150.00")
    await wire.step(2, LATER, ("150.00", 100), run=f"R{seed}")
    by_order = {order_id: row["ordertag"] for order_id, row in (await wire.book()).items()}
    return [(by_order[trade["orderid"]], trade["fillsize"], trade["fillprice"]) for trade in await wire.trades()]


async def test_the_order_of_arrival_between_steps_decides_nothing(desk: Desk) -> None:
    trades = [await replay(desk, seed) for seed in range(4)]
    assert trades[0] == [("SDA", "10", "150.00"), ("SDB", "10", "150.00"), ("SDC", "5", "150.00")]
    assert all(other == trades[0] for other in trades)


async def test_order_ids_of_a_replay_do_not_tell_who_came_first(desk: Desk) -> None:
    async def ids(client_code: str, tags: list[str]) -> dict[str, str]:
        wire = await desk.enter(desk.open(), client_code)
        await wire.control("POST", "/control/mode", {"mode": "lockstep"})
        return {tag: await wire.placed(LIMIT_BUY, ordertag=tag) for tag in tags}

    one, two = await ids("A1", ["SDA", "SDB"]), await ids("A2", ["SDB", "SDA"])
    assert (one["SDA"] < one["SDB"]) is (two["SDA"] < two["SDB"])
    assert not set(one.values()) & set(two.values())


async def test_resting_orders_come_before_new_arrivals(lockstep: WireClient) -> None:
    resting = await lockstep.placed(LIMIT_BUY, ordertag="SDZ")
    await lockstep.step(1, OPENING, ("150.00", None))
    arrival = await lockstep.placed(LIMIT_BUY, ordertag="SDA")
    await lockstep.step(2, LATER, ("149.00", 60))
    assert (await standing(lockstep, resting))[:2] == ("complete", 10)
    assert (await standing(lockstep, arrival))[:2] == ("open", 5)


async def test_a_repeated_step_gives_the_same_answer_and_trades_nothing(lockstep: WireClient) -> None:
    await lockstep.placed(LIMIT_BUY)
    first = await lockstep.step(1, OPENING, ("149.00", 16))
    await lockstep.placed(LIMIT_BUY)
    assert await lockstep.step(1, OPENING, ("149.00", 16)) == first
    assert len(await lockstep.trades()) == 1


@pytest.mark.parametrize(
    ("number", "time", "price"), [(2, LATER, "150.00"), (2, OPENING, "149.00"), (1, LATER, "150.00"), (3, OPENING, "1")]
)
async def test_a_step_that_does_not_follow_is_refused(lockstep: WireClient, number: int, time: str, price: str) -> None:
    await lockstep.step(2, LATER, ("149.00", None))
    body = {"run": "R1", "step": number, "time": time}
    body |= {"prices": [{"exchange": "NSE", "token": "11915", "price": price, "volume": None}]}
    answer = await lockstep.control("POST", "/control/step", body)
    assert (answer.status_code, answer.json()["code"]) == (409, "step_conflict")


async def test_steps_need_lockstep_and_prices_need_freedom(wire: WireClient) -> None:
    step = {"run": "R1", "step": 1, "time": OPENING, "prices": []}
    assert (await wire.control("POST", "/control/step", step)).status_code == 409
    await wire.control("POST", "/control/mode", {"mode": "lockstep"})
    assert (await wire.control("POST", "/control/prices", {"prices": []})).status_code == 409


async def test_a_market_order_on_a_stale_price_is_rejected(lockstep: WireClient) -> None:
    await lockstep.step(1, OPENING, ("150.00", None))
    fresh = await lockstep.placed(MARKET_BUY)
    await lockstep.step(2, LATER)
    assert (await standing(lockstep, fresh))[0] == "open"
    stale = await lockstep.placed(MARKET_BUY)
    await lockstep.step(3, TEN_PAST)
    status, _, text = await standing(lockstep, stale)
    assert status == "rejected"
    assert "stale price" in text


async def test_an_ioc_order_whose_instrument_has_no_price_in_the_step_is_cancelled(lockstep: WireClient) -> None:
    await lockstep.step(1, OPENING, ("149.00", None))
    order_id = await lockstep.placed(LIMIT_BUY, duration="IOC")
    await lockstep.step(2, LATER)
    assert (await standing(lockstep, order_id))[0] == "cancelled"


async def test_orders_outside_the_session_are_rejected(lockstep: WireClient) -> None:
    early = await lockstep.placed(LIMIT_BUY)
    await lockstep.step(1, "2019-01-01T03:44:59+00:00", ("149.00", None))
    assert (await standing(lockstep, early))[0] == "rejected"
    before_opening = await lockstep.placed(LIMIT_BUY)
    assert "market is closed" in (await standing(lockstep, before_opening))[2]
    await lockstep.step(2, OPENING, ("149.00", None))
    in_time = await lockstep.placed(LIMIT_BUY)
    await lockstep.step(3, CLOSING, ("149.00", None))
    assert (await standing(lockstep, in_time))[0] == "complete"


async def test_day_orders_lapse_at_the_close_and_over_night(lockstep: WireClient) -> None:
    await lockstep.step(1, OPENING, ("150.00", None))
    resting = await lockstep.placed(LIMIT_BUY)
    await lockstep.step(2, LATER, ("150.00", None))
    held = await lockstep.placed(LIMIT_BUY)
    await lockstep.step(3, AFTER_CLOSE, ("149.00", None))
    assert await standing(lockstep, resting) == ("cancelled", 0, "day order lapsed")
    assert (await standing(lockstep, held))[0] == "rejected"
    await lockstep.step(4, NEXT_DAY, ("150.00", None))
    late = await lockstep.placed(STOP_SELL)
    await lockstep.step(5, "2019-01-03T03:45:00+00:00", ("147.00", None))
    assert await standing(lockstep, late) == ("cancelled", 0, "day order lapsed")


async def test_a_new_run_starts_a_clean_clock_and_leaves_orders_of_the_other_run_alone(lockstep: WireClient) -> None:
    await lockstep.step(9, NEXT_DAY, ("150.00", None), run="A")
    other = await lockstep.placed(LIMIT_BUY)
    await lockstep.step(10, "2019-01-02T03:46:00+00:00", ("150.00", None), run="A")
    await lockstep.step(1, OPENING, run="B")
    own = await lockstep.placed(MARKET_BUY)
    await lockstep.step(2, LATER, run="B")
    assert "stale price" in (await standing(lockstep, own))[2]
    await lockstep.step(3, TEN_PAST, ("140.00", None), run="B")
    assert (await standing(lockstep, other))[:2] == ("open", 0)


async def test_a_modified_order_is_held_again_and_a_cancel_takes_effect_at_once(lockstep: WireClient) -> None:
    order_id = await lockstep.placed(LIMIT_BUY)
    await lockstep.step(1, OPENING, ("150.00", None))
    path = "/rest/secure/angelbroking/order/v1"
    await lockstep.post(f"{path}/modifyOrder", {**LIMIT_BUY, "orderid": order_id, "price": "151.00"})
    assert (await standing(lockstep, order_id))[:2] == ("open", 0)
    await lockstep.step(2, LATER, ("150.50", 16))
    assert (await standing(lockstep, order_id))[:2] == ("open", 4)
    await lockstep.post(f"{path}/cancelOrder", {"variety": "NORMAL", "orderid": order_id})
    assert (await standing(lockstep, order_id))[:2] == ("cancelled", 4)


async def test_the_free_market_releases_what_was_held(desk: Desk, lockstep: WireClient) -> None:
    order_id = await lockstep.placed(LIMIT_BUY)
    await lockstep.control("POST", "/control/mode", {"mode": "free"})
    assert (await standing(lockstep, order_id))[0] == "open"
    desk.now += timedelta(seconds=1)
    await lockstep.print_price("149.00")
    assert (await standing(lockstep, order_id))[0] == "complete"
