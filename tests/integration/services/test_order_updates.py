"""What the broker says about our orders: bound by tag, ended by its word, never moved by repetition or odd words."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from app.core.instruments import Exchange
from app.core.orders import Side
from app.core.outcomes import Accepted, PlaceOutcome, Throttled
from app.core.ports import BrokerOrder, BrokerOrderState, PlaceRequest
from app.repositories.leases import LeaseLost
from app.services.order_updates import Applied, OrderUpdates
from app.services.orders import OrderAnswer
from tests.harness.desk import Desk
from tests.integration.services.conftest import Floor


def a_row(broker_order_id: str, state: BrokerOrderState, tag: str | None, **changes: Any) -> BrokerOrder:  # noqa: ANN401
    values: dict[str, Any] = {
        "broker_unique_id": f"u-{broker_order_id}",
        "exchange": Exchange.NSE,
        "trading_symbol": "YESBANK-EQ",
        "side": Side.BUY,
        "quantity": 10,
        "filled_quantity": 0,
        "average_price": Decimal(0),
        "raw_status": state.value.lower(),
        "text": "",
    }
    return BrokerOrder(broker_order_id=broker_order_id, state=state, tag=tag, **(values | changes))


async def apply(desk: Desk, *rows: BrokerOrder) -> Applied:
    account = await desk.account_named()
    return await OrderUpdates(uow=desk.uow).apply(account.id, rows, await desk.lease())


async def unknown_order(desk: Desk) -> OrderAnswer:
    answer = await desk.place()
    await desk.execute("UPDATE orders SET status = 'UNKNOWN' WHERE id = :id", id=answer.order_id)
    await desk.execute(
        "UPDATE order_commands SET state = 'UNKNOWN', attempt = 1 WHERE order_id = :id", id=answer.order_id
    )
    return answer


WORKING, REJECTED, CANCELLED = BrokerOrderState.WORKING, BrokerOrderState.REJECTED, BrokerOrderState.CANCELLED


@pytest.mark.parametrize(
    ("state", "status", "events"),
    [
        (WORKING, "PLACED", ["ACCEPTED"]),
        (BrokerOrderState.COMPLETE, "PLACED", ["ACCEPTED"]),
        (REJECTED, "REJECTED", ["ACCEPTED", "BROKER_REJECTED"]),
        (CANCELLED, "CANCELLED", ["ACCEPTED", "BROKER_CANCELLED"]),
        (BrokerOrderState.UNRECOGNISED, "PLACED", ["ACCEPTED", "STATUS_UNRECOGNISED"]),
    ],
)
async def test_a_row_with_its_tag_settles_an_unknown_order(
    plain_desk: Desk, state: BrokerOrderState, status: str, events: list[str]
) -> None:
    answer = await unknown_order(plain_desk)
    applied = await apply(plain_desk, a_row("B1", state, answer.tag))
    notes = events.count("STATUS_UNRECOGNISED")
    assert applied == Applied(changed=len(events) - notes, trades_missing=False)
    order = await plain_desk.order(answer.order_id)
    assert (order.status.value, order.broker_order_id) == (status, "B1")
    assert (await plain_desk.events(answer.order_id))[1:] == events
    assert (await plain_desk.command(answer.order_id))["state"] == "DONE"


async def test_nothing_but_the_own_tag_settles_an_unknown_order(plain_desk: Desk) -> None:
    answer = await unknown_order(plain_desk)
    another = "SD" + "A" * 16
    applied = await apply(
        plain_desk,
        a_row("B1", WORKING, None),
        a_row("B2", WORKING, "somebody's"),
        a_row("B3", WORKING, another),
        a_row("B4", REJECTED, ""),
    )
    assert applied == Applied(changed=0, trades_missing=False)
    assert await plain_desk.status(answer.order_id) == "UNKNOWN"
    assert await plain_desk.events(answer.order_id) == ["CREATED"]


async def test_the_tags_of_one_account_mean_nothing_in_another(plain_desk: Desk) -> None:
    await plain_desk.add_account("other")
    answer = await plain_desk.place(account="other")
    await apply(plain_desk, a_row("B1", REJECTED, answer.tag))
    assert await plain_desk.status(answer.order_id) == "PENDING"


async def test_a_tag_seen_once_binds_even_where_later_rows_do_not_echo_it(plain_desk: Desk) -> None:
    answer = await unknown_order(plain_desk)
    await apply(plain_desk, a_row("B1", WORKING, answer.tag), a_row("B1", WORKING, None, filled_quantity=4))
    assert (await plain_desk.order(answer.order_id)).broker_order_id == "B1"


async def test_rms_reject_after_success(plain_desk: Desk) -> None:
    """The broker gave an order id and refused the order afterwards: REJECTED, with its reason."""
    order_id = await plain_desk.placed("B1")
    await apply(plain_desk, a_row("B1", REJECTED, None, text="RMS: margin exceeds"))
    order = await plain_desk.order(order_id)
    assert (order.status.value, order.status_reason) == ("REJECTED", "RMS: margin exceeds")
    assert order.stages.done is not None


async def test_a_cancel_at_the_broker_ends_an_order_and_keeps_what_traded(plain_desk: Desk) -> None:
    order_id = await plain_desk.placed("B1")
    await plain_desk.execute("UPDATE orders SET status = 'PARTIALLY_FILLED', filled_quantity = 4")
    applied = await apply(plain_desk, a_row("B1", CANCELLED, None, filled_quantity=4))
    order = await plain_desk.order(order_id)
    assert (order.status.value, order.filled_quantity, applied.trades_missing) == ("CANCELLED", 4, False)


async def test_more_filled_there_than_here_asks_for_the_trade_book_and_makes_no_fill(plain_desk: Desk) -> None:
    order_id = await plain_desk.placed("B1")
    applied = await apply(plain_desk, a_row("B1", BrokerOrderState.COMPLETE, None, filled_quantity=10))
    assert applied == Applied(changed=0, trades_missing=True)
    order = await plain_desk.order(order_id)
    assert (order.status.value, order.filled_quantity) == ("PLACED", 0)


async def test_repeated_rows_change_nothing(plain_desk: Desk) -> None:
    order_id = await plain_desk.placed("B1")
    for state in (WORKING, CANCELLED, CANCELLED, WORKING, REJECTED):
        await apply(plain_desk, a_row("B1", state, None))
    assert await plain_desk.status(order_id) == "CANCELLED"
    assert await plain_desk.events(order_id) == ["CREATED", "BROKER_CANCELLED"]


async def test_a_status_word_that_nobody_knows_keeps_the_order_as_it_is(plain_desk: Desk) -> None:
    order_id = await plain_desk.placed("B1")
    account, lease = await plain_desk.account_named(), await plain_desk.lease()
    updates = OrderUpdates(uow=plain_desk.uow)

    async def told(raw: str, state: BrokerOrderState = BrokerOrderState.UNRECOGNISED) -> list[str | None]:
        await updates.apply(account.id, [a_row("B1", state, None, raw_status=raw)], lease)
        assert await plain_desk.status(order_id) == "PLACED"
        alerts = await plain_desk.rows("SELECT detail, closed_at FROM alerts WHERE kind = 'STATUS_UNRECOGNISED'")
        return [alert["detail"]["raw"] for alert in alerts if alert["closed_at"] is None]

    assert await told("on the moon") == ["on the moon"]
    assert await told("on the moon") == ["on the moon"]
    assert await told("frozen by risk") == ["frozen by risk"]
    assert await told("open", WORKING) == []
    # A keeper that has just started knows nothing of it, and notes it no second time.
    updates = OrderUpdates(uow=plain_desk.uow)
    assert await told("on the moon") == ["on the moon"]
    notes = await plain_desk.rows("SELECT detail FROM order_events WHERE event = 'STATUS_UNRECOGNISED' ORDER BY id")
    assert [note["detail"]["raw"] for note in notes] == ["on the moon", "frozen by risk"]


async def test_a_second_broker_order_under_one_tag_is_never_adopted(plain_desk: Desk) -> None:
    order_id = await plain_desk.placed("B1")
    tag = (await plain_desk.order(order_id)).tag
    applied = await apply(plain_desk, a_row("B2", REJECTED, tag))
    order = await plain_desk.order(order_id)
    assert (order.broker_order_id, order.status.value, applied.changed) == ("B1", "PLACED", 0)


async def test_a_waiting_order_that_turns_up_at_the_broker_is_never_sent(floor: Floor) -> None:
    """It should not happen, as nothing was sent; where it does (an older backup restored), it must not go twice."""
    answer = await floor.desk.place()
    await apply(floor.desk, a_row("B1", WORKING, answer.tag))
    assert await floor.state(answer) == ("PLACED", "DONE", 0)
    assert await floor.run(answer) is None
    assert floor.broker.received == []


async def test_what_waits_to_be_sent_again_and_turns_up_at_the_broker_is_not_sent_again(floor: Floor) -> None:
    """The broker said that it had turned the order away, and has it all the same."""
    answer = await floor.desk.place()
    floor.broker.script = [Throttled(reason="slow down")]
    await floor.run(answer)
    assert await floor.state(answer) == ("PENDING", "PENDING", 1)
    await apply(floor.desk, a_row("B1", WORKING, answer.tag))
    assert await floor.state(answer) == ("PLACED", "DONE", 1)
    assert await floor.run(answer) is None
    assert len(floor.broker.received) == 1


async def test_no_order_that_has_a_brokers_id_is_ever_claimed(floor: Floor) -> None:
    answer = await floor.desk.place()
    await floor.desk.execute("UPDATE orders SET broker_order_id = 'B1' WHERE id = :id", id=answer.order_id)
    assert await floor.run(answer) is None
    assert floor.broker.received == []


async def test_an_answer_that_comes_after_the_reject_leaves_its_reason(floor: Floor) -> None:
    answer = await floor.desk.place()

    async def rejected_first(_request: PlaceRequest) -> PlaceOutcome:
        await apply(floor.desk, a_row("B1", REJECTED, answer.tag, text="no margin"))
        return Accepted(broker_order_id="B1")

    floor.broker.script = [rejected_first]
    await floor.run(answer)
    order = await floor.desk.order(answer.order_id)
    assert (order.status.value, order.status_reason) == ("REJECTED", "no margin")


async def test_a_keeper_that_lost_its_lease_moves_nothing(plain_desk: Desk) -> None:
    order_id = await plain_desk.placed("B1")
    old = await plain_desk.lease(holder="old", ttl_s=0.0)
    await plain_desk.lease(holder="new")
    account = await plain_desk.account_named()
    with pytest.raises(LeaseLost):
        await OrderUpdates(uow=plain_desk.uow).apply(account.id, [a_row("B1", REJECTED, None)], old)
    assert await plain_desk.status(order_id) == "PLACED"


async def test_a_row_that_says_what_is_known_waits_for_nobody_and_writes_nothing(plain_desk: Desk) -> None:
    answer = await unknown_order(plain_desk)
    await apply(plain_desk, a_row("B1", WORKING, answer.tag))
    async with plain_desk.uow.transaction() as busy:
        account = await plain_desk.account_named()
        await busy.orders.lock_by_broker_id(account.id, ["B1"])
        async with asyncio.timeout(1.0):
            applied = await apply(plain_desk, a_row("B1", WORKING, answer.tag, filled_quantity=10))
    assert applied == Applied(changed=0, trades_missing=True)
