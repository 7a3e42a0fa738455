"""UNKNOWN orders against the real exchange in all its modes of telling tags: found, absent, or left to a person."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.bootstrap import keeper, worker
from app.bootstrap.trading import broker_pool
from app.core.instruments import Exchange
from app.core.orders import OrderType, Product, Side, Validity
from app.core.outcomes import Accepted
from app.core.ports import PlaceRequest
from app.keeper import account_watch, settler
from tests.harness.desk import Desk, desk, running
from tests.harness.market import Market
from tests.harness.queue import eventually
from tests.integration.keeper.test_watches import until_logged_in, until_status

READ_AND_TCP_S = 12.0
TAG_MODES = ("book", "details", "none")
RESTING: dict[str, Any] = {"order_type": OrderType.LIMIT, "price": Decimal("180.00")}


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settler, "ARRIVAL_MARGIN_S", 0.5 - READ_AND_TCP_S)
    monkeypatch.setattr(account_watch, "CATCH_UP_EVERY_S", 0.5)


@pytest.fixture
async def settling(
    database_url: str, redis_url: str, market: Market, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    """A desk with keeper and worker whose claims die soon, and past whose claims nothing arrives any more soon."""
    quick(monkeypatch)
    settings = {"lease_ttl_s": 1.0, "send_window_s": 1.0, "claim_margin_s": 0.2}
    async with desk(database_url, redis_url, exchange_port=market.port, **settings) as made:
        await made.set_market_time(made.base.clock.now(), step=2)
        async with running(keeper.run, made.base.config), running(worker.run, made.base.config):
            await until_logged_in(made)
            yield made
    market.control("POST", "tag-echo", {"mode": "book"})


def echo(market: Market, mode: str) -> None:
    market.control("POST", "tag-echo", {"mode": mode})


async def at_exchange(desk: Desk, market: Market) -> list[dict[str, Any]]:
    answer: Any = market.control("GET", f"ledger/{(await desk.account_named()).client_code}")
    orders: list[dict[str, Any]] = answer["orders"]
    return orders


def fault(market: Market, kind: str, limit: int = 1, op: str = "place") -> None:
    market.faults({"kind": kind, "probability": 1.0, "ops": [op], "limit": limit})


async def by_hand(desk: Desk, *, quantity: int = 10, tag: str = "BYHAND", side: Side = Side.BUY) -> str:
    """Place an order as a person would at the broker's own terminal; it rests."""
    request = PlaceRequest(
        exchange=Exchange.NSE,
        trading_symbol="YESBANK-EQ",
        token="11915",
        side=side,
        quantity=quantity,
        order_type=OrderType.LIMIT,
        product=Product.MIS,
        validity=Validity.DAY,
        price=Decimal("180.00"),
        trigger_price=None,
        tag=tag,
    )
    pool, _ = broker_pool(desk.base)
    try:
        guarded = await pool.get((await desk.account_named()).id)
        session = await guarded.session()
        assert session is not None
        placed = await guarded.broker.place(session, request, deadline=desk.base.clock.monotonic() + 5)
    finally:
        await pool.close()
    assert isinstance(placed, Accepted), placed
    return placed.broker_order_id


async def until_stored(desk: Desk, broker_order_id: str) -> None:
    async def is_stored() -> bool:
        return bool(await desk.rows("SELECT 1 FROM orders WHERE broker_order_id = :id", id=broker_order_id))

    await eventually(is_stored, timeout_s=15)


async def until_nothing_can_arrive_any_more(desk: Desk) -> None:
    async def is_past() -> bool:
        rows = await desk.rows(
            "SELECT max(send_by) < clock_timestamp() - interval '1 second' AS past FROM order_commands"
        )
        return bool(rows[0]["past"])

    await eventually(is_past, timeout_s=15)


async def origins(desk: Desk) -> list[str]:
    rows = await desk.rows("SELECT origin FROM orders ORDER BY id")
    return [row["origin"] for row in rows]


async def alerts(desk: Desk, kind: str) -> list[str]:
    rows = await desk.rows("SELECT severity FROM alerts WHERE kind = :kind AND closed_at IS NULL", kind=kind)
    return [row["severity"] for row in rows]


@pytest.mark.parametrize("mode", TAG_MODES)
async def test_an_order_that_the_broker_took_without_answering_is_found(
    settling: Desk, market: Market, mode: str
) -> None:
    echo(market, mode)
    market.control(
        "PUT",
        "faults",
        {
            "seed": 1,
            "rules": [
                {"kind": "drop_after_accept", "probability": 1.0, "ops": ["place"], "limit": 1},
                {"kind": "drop_update", "probability": 1.0, "ops": ["any"]},
            ],
        },
    )
    answer = await settling.place(**RESTING)
    await until_status(settling, answer.order_id, "PLACED")
    (reached,) = await at_exchange(settling, market)
    assert (await settling.order(answer.order_id)).broker_order_id == reached["order_id"]
    assert "PROVEN_ABSENT" not in await settling.events(answer.order_id)


@pytest.mark.parametrize("mode", TAG_MODES)
async def test_an_order_that_never_reached_the_broker_is_proven_absent_and_sent_again_once(
    settling: Desk, market: Market, mode: str
) -> None:
    echo(market, mode)
    fault(market, "drop_before_accept")
    answer = await settling.place(**RESTING)
    await until_status(settling, answer.order_id, "PLACED")
    assert len(await at_exchange(settling, market)) == 1
    events = await settling.events(answer.order_id)
    assert [event for event in events if event != "CREATED"] == [
        "CLAIMED",
        "AMBIGUOUS",
        "PROVEN_ABSENT",
        "CLAIMED",
        "ACCEPTED",
    ]


async def test_an_absent_order_whose_cancel_is_wanted_is_cancelled_and_never_sent_again(
    settling: Desk, market: Market
) -> None:
    fault(market, "drop_before_accept")
    answer = await settling.place(**RESTING)
    await until_status(settling, answer.order_id, "UNKNOWN")
    await settling.execute("UPDATE orders SET cancel_wanted_at = now() WHERE id = :id", id=answer.order_id)
    await settling.execute(
        "INSERT INTO order_commands (id, order_id, account_id, kind, state, urgency, band, attempt, ring_after) "
        "SELECT gen_random_uuid(), id, account_id, 'CANCEL', 'HELD', 'HIGH', 1, 0, now() FROM orders WHERE id = :id",
        id=answer.order_id,
    )
    await until_status(settling, answer.order_id, "CANCELLED")
    assert await at_exchange(settling, market) == []


async def test_two_orders_alike_stay_unknown_where_no_source_tells_the_tag_and_a_single_one_is_adopted(
    settling: Desk, market: Market
) -> None:
    echo(market, "none")
    # No read of the book may come between the two, or it adopts the first, and rightly so.
    market.faults(
        {"kind": "drop_after_accept", "probability": 1.0, "ops": ["place"], "limit": 3},
        {"kind": "http_5xx", "probability": 1.0, "ops": ["order_book"]},
    )
    twins = [await settling.place(**RESTING) for _ in range(2)]
    single = await settling.place(quantity=20, **RESTING)
    for order in (*twins, single):
        await until_status(settling, order.order_id, "UNKNOWN")
    market.faults()
    await until_status(settling, single.order_id, "PLACED")
    await until_nothing_can_arrive_any_more(settling)
    for quantity in (1, 2):  # each is found by a read that began after the one before
        await until_stored(settling, await by_hand(settling, quantity=quantity, side=Side.SELL))
    assert [await settling.status(twin.order_id) for twin in twins] == ["UNKNOWN", "UNKNOWN"]
    assert len(await at_exchange(settling, market)) == 5
    assert await origins(settling) == ["SAUDA"] * 3 + ["EXTERNAL"] * 2


async def test_an_order_made_by_hand_is_stored_and_counts(settling: Desk, market: Market) -> None:
    mine = await by_hand(settling)

    async def stored() -> bool:
        return await origins(settling) == ["EXTERNAL"]

    await eventually(stored, timeout_s=15)
    market.print_price("179.50")

    async def counted() -> bool:
        rows = await settling.rows("SELECT quantity, strategy_id FROM positions")
        return [(row["quantity"], row["strategy_id"]) for row in rows] == [(10, None)]

    await eventually(counted, timeout_s=15)
    (order,) = await settling.rows("SELECT id, status, broker_order_id, client_order_id, tag FROM orders")
    assert (order["status"], order["broker_order_id"], order["tag"]) == ("COMPLETE", mine, "BYHAND")
    assert order["client_order_id"] == f"external/{mine}"
    assert (await settling.events(order["id"]))[0] == "DISCOVERED"
    assert await alerts(settling, "EXTERNAL_ORDER") == ["INFO"]


async def test_an_order_made_by_hand_is_nobodys_while_ours_on_its_side_is_unknown(
    settling: Desk, market: Market
) -> None:
    echo(market, "none")
    fault(market, "drop_after_accept", limit=2)
    twins = [await settling.place(**RESTING) for _ in range(2)]
    for twin in twins:
        await until_status(settling, twin.order_id, "UNKNOWN")
    await by_hand(settling, quantity=30)
    await until_stored(settling, await by_hand(settling, quantity=30, side=Side.SELL))
    assert await origins(settling) == ["SAUDA", "SAUDA", "EXTERNAL"]
    assert await settling.status(twins[0].order_id) == "UNKNOWN"


async def test_several_orders_of_one_foreign_tag_are_stored_each(settling: Desk) -> None:
    for quantity in (1, 2, 3):
        await by_hand(settling, quantity=quantity)

    async def stored() -> bool:
        return await origins(settling) == ["EXTERNAL"] * 3

    await eventually(stored, timeout_s=15)


async def test_an_order_that_a_restored_backup_has_lost_is_an_orphan_and_blocks_entries(
    settling: Desk, market: Market
) -> None:
    answer = await settling.place(**RESTING)
    await until_status(settling, answer.order_id, "PLACED")
    (reached,) = await at_exchange(settling, market)
    async with settling.uow._engine.begin() as connection:
        await connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for table in ("order_events", "order_commands", "orders"):
            await connection.exec_driver_sql(f"DELETE FROM {table}")

    async def blocked() -> bool:
        return await settling.count("account_blocks") == 1

    await eventually(blocked, timeout_s=15)
    (orphan,) = await settling.rows("SELECT origin, status, broker_order_id, tag FROM orders")
    assert tuple(orphan.values()) == ("ORPHAN", "PLACED", reached["order_id"], answer.tag)
    (block,) = await settling.rows("SELECT reason FROM account_blocks")
    assert block["reason"] == "ORPHAN"
    assert await alerts(settling, "ORPHAN_ORDER") == ["CRITICAL"]


async def test_mute_socket(settling: Desk, market: Market) -> None:
    """A connected order socket that says nothing: reading the books finds all that happens."""
    market.faults({"kind": "drop_update", "probability": 1.0, "ops": ["any"]})
    resting = await settling.place(**RESTING)
    await until_status(settling, resting.order_id, "PLACED")
    market.print_price("179.90")
    await until_status(settling, resting.order_id, "COMPLETE")
    lost = await settling.place()
    await until_status(settling, lost.order_id, "COMPLETE")


async def test_what_somebody_changed_at_the_broker_is_taken_over(settling: Desk, market: Market) -> None:
    answer = await settling.place(**RESTING)
    await until_status(settling, answer.order_id, "PLACED")
    order = await settling.order(answer.order_id)
    assert order.broker_order_id is not None
    pool, _ = broker_pool(settling.base)
    try:
        guarded = await pool.get(order.intent.account_id)
        session = await guarded.session()
        assert session is not None
        request = PlaceRequest(
            exchange=Exchange.NSE,
            trading_symbol="YESBANK-EQ",
            token="11915",
            side=Side.BUY,
            quantity=15,
            order_type=OrderType.LIMIT,
            product=Product.MIS,
            validity=Validity.DAY,
            price=Decimal("179.00"),
            trigger_price=None,
            tag="BYHAND",
        )
        deadline = settling.base.clock.monotonic() + 5
        changed = await guarded.broker.modify(session, order.broker_order_id, request, deadline=deadline)
    finally:
        await pool.close()
    assert isinstance(changed, Accepted), changed

    async def taken_over() -> bool:
        now = (await settling.order(answer.order_id)).intent
        return (now.quantity, now.price) == (15, Decimal(179))

    await eventually(taken_over, timeout_s=15)
    order = await settling.order(answer.order_id)
    assert (order.status.value, order.status_reason) == ("PLACED", "changed at the broker")
    assert (await settling.events(answer.order_id))[-1] == "MODIFIED"


async def test_an_unknown_order_is_told_of_and_told_no_more_when_it_is_settled(settling: Desk, market: Market) -> None:
    echo(market, "none")
    fault(market, "drop_after_accept", limit=2)
    twins = [await settling.place(**RESTING) for _ in range(2)]

    async def told(severity: str, count: int) -> bool:
        return await alerts(settling, "ORDER_UNKNOWN") == [severity] * count

    await eventually(lambda: told("WARNING", 2), timeout_s=15)
    await settling.execute("UPDATE order_commands SET send_by = send_by - interval '1 hour'")
    await eventually(lambda: told("CRITICAL", 2), timeout_s=15)
    echo(market, "book")
    for twin in twins:
        await until_status(settling, twin.order_id, "PLACED")
    await eventually(lambda: told("CRITICAL", 0), timeout_s=15)


async def test_restart_in_every_state(trading: Desk, market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever state an order was in when all stopped: what starts next finds it at the broker, or sends it once."""
    quick(monkeypatch)
    config = trading.base.config
    async with running(keeper.run, config):
        await until_logged_in(trading)
    orders = {
        (status, reached): await left_behind(trading, status, reached=reached)
        for status in ("PENDING", "SUBMITTING", "UNKNOWN", "PLACED", "PARTIALLY_FILLED")
        for reached in (False, True)
        if reached or status not in ("PLACED", "PARTIALLY_FILLED")
    }
    async with running(keeper.run, config), running(worker.run, config):
        for how, order_id in orders.items():
            await until_status(trading, order_id, "PLACED", "PARTIALLY_FILLED")
            order = await trading.order(order_id)
            held = [row["order_id"] for row in await at_exchange(trading, market) if row["tag"] == order.tag]
            assert held == [order.broker_order_id], how


async def left_behind(desk: Desk, status: str, *, reached: bool) -> UUID | None:
    """Store an order as processes that were killed leave it; `reached`: it rests at the broker."""
    quantity = 10 + len(await desk.rows("SELECT 1 FROM orders"))
    answer = await desk.place(**RESTING, quantity=quantity)
    order = await desk.order(answer.order_id)
    broker_id = await by_hand(desk, quantity=quantity, tag=order.tag) if reached else None
    is_open = status in ("PENDING", "SUBMITTING", "UNKNOWN")
    await desk.execute(
        "UPDATE orders SET status = :status, claimed_at = now(), broker_order_id = :broker_id WHERE id = :id",
        id=order.id,
        status=status,
        broker_id=None if is_open else broker_id,
    )
    await desk.execute(
        "UPDATE order_commands SET state = :state, attempt = 1, send_by = now(), claimed_at = now() "
        "WHERE order_id = :id",
        id=order.id,
        state=status if is_open else "DONE",
    )
    return order.id


async def test_what_a_killed_worker_held_is_settled_in_time_at_production_settings(
    trading: Desk, market: Market
) -> None:
    config = trading.base.config.model_copy(update={"lease_ttl_s": 5.0})
    clock = trading.base.clock
    async with running(keeper.run, config), running(worker.run, config):
        await until_logged_in(trading)
        found, absent = await held_by_a_killed_worker(trading), await held_by_a_killed_worker(trading)
        killed_at = clock.monotonic()
        await by_hand(trading, tag=(await trading.order(found)).tag)
        await until_status(trading, found, "PLACED")
        assert clock.monotonic() - killed_at < 10
        await until_status(trading, absent, "PLACED")
        assert clock.monotonic() - killed_at < 30
    assert len(await at_exchange(trading, market)) == 2


async def held_by_a_killed_worker(desk: Desk) -> UUID | None:
    """Save an order and claim it as a worker does that is killed before anybody else can."""
    answer = await desk.place(**RESTING)
    command = await desk.command(answer.order_id)
    async with desk.uow.statement() as tx:
        claim = await tx.commands.claim(command["id"], worker="killed", window_s=5.0, rung_at=None)
    assert claim is not None, "the sweep gives a new order's bell two seconds"
    return answer.order_id
