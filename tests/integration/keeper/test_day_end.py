"""What ends without a broker's word: deadlines that nobody rings for, and the trading day."""

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from app.infra.clock import ist_day
from app.infra.fee_schedules import load_fee_schedules
from app.keeper.day_end import DayEnd
from app.keeper.deadlines import Deadlines
from app.market_data.last_prices import LastPrices
from app.repositories.leases import LeaseLost
from app.services.balances import Balances
from app.services.fill_recorder import FillRecorder
from tests.harness.desk import NOON, Desk, a_trade, desk

TOMORROW = NOON + timedelta(days=1)


@pytest.fixture
async def made(database_url: str, redis_url: str) -> AsyncIterator[Desk]:
    async with desk(database_url, redis_url) as opened:
        yield opened


async def deadlines(made: Desk) -> Deadlines:
    return Deadlines(uow=made.uow, lease=await made.lease(), bell=made.base.bell)


async def day_end(made: Desk) -> DayEnd:
    balances = Balances(uow=made.uow, prices=LastPrices(made.base.redis))
    return DayEnd(uow=made.uow, balances=balances, lease=await made.lease())


async def state(made: Desk, order_id: UUID | None) -> tuple[str, str]:
    return await made.status(order_id), (await made.command(order_id))["state"]


async def note_book_read(made: Desk, *, day: int = 0) -> None:
    async with made.uow.transaction() as tx:
        account = await tx.accounts.by_name("paper")
        assert account is not None
        (now,) = await made.rows("SELECT clock_timestamp() AS at")
        await tx.reconciliations.note_book_read(account.id, day=ist_day(NOON + timedelta(days=day)), read_at=now["at"])


async def test_a_waiting_order_ends_at_its_deadline_although_nobody_rings(made: Desk) -> None:
    soon = (await made.place(deadline=NOON + timedelta(minutes=1))).order_id
    parked = (await made.place(deadline=NOON + timedelta(minutes=1))).order_id
    later = (await made.place(deadline=NOON + timedelta(minutes=5))).order_id
    never = (await made.place()).order_id
    await made.execute("UPDATE order_commands SET state = 'PARKED' WHERE order_id = :id", id=parked)
    duty = await deadlines(made)
    await duty.turn()
    assert {await made.status(one) for one in (soon, parked, later, never)} == {"PENDING"}
    await made.set_market_time(NOON + timedelta(minutes=1), step=2)
    await duty.turn()
    assert await state(made, soon) == ("EXPIRED", "DONE")
    assert await state(made, parked) == ("EXPIRED", "DONE")
    assert await made.events(soon) == ["CREATED", "DEADLINE_PASSED"]
    assert {await made.status(one) for one in (later, never)} == {"PENDING"}


async def test_a_claimed_order_is_not_ended_by_its_deadline(made: Desk) -> None:
    claimed = (await made.place(deadline=NOON + timedelta(minutes=1))).order_id
    await made.execute(
        "UPDATE order_commands SET state = 'SUBMITTING', send_by = now() + interval '5 s' WHERE order_id = :id",
        id=claimed,
    )
    await made.execute("UPDATE orders SET status = 'SUBMITTING' WHERE id = :id", id=claimed)
    await made.set_market_time(NOON + timedelta(minutes=2), step=2)
    await (await deadlines(made)).turn()
    assert await state(made, claimed) == ("SUBMITTING", "SUBMITTING")


async def test_the_days_end_expires_what_was_left_of_the_day_before_only(made: Desk) -> None:
    waiting = (await made.place()).order_id
    resting = await made.placed("B1")
    part = await made.placed("B2", quantity=10)
    lease = await made.lease()
    recorder = FillRecorder(uow=made.uow, fee_schedules=load_fee_schedules("angelone"))
    await recorder.record((await made.account_named()).id, [a_trade("B2", "1", 4)], lease)
    await note_book_read(made)
    duty = await day_end(made)
    await duty.turn()
    assert {await made.status(one) for one in (waiting, resting, part)} == {"PENDING", "PLACED", "PARTIALLY_FILLED"}

    await made.set_market_time(TOMORROW, step=2)
    today = (await made.place()).order_id
    await duty.turn()
    for order_id in (waiting, resting, part):
        assert await state(made, order_id) == ("EXPIRED", "DONE")
        assert (await made.events(order_id))[-1] == "DAY_ENDED"
    assert await made.status(today) == "PENDING"
    assert (await made.order(part)).filled_quantity == 4
    assert await made.count("alerts") == 0
    await duty.turn()
    assert (await made.events(part)).count("DAY_ENDED") == 1


async def test_an_end_without_a_closing_book_is_an_alert_that_names_the_orders(made: Desk) -> None:
    await note_book_read(made)
    resting = await made.placed("B1")  # changed after the last reading
    waiting = (await made.place()).order_id
    await made.set_market_time(TOMORROW, step=2)
    await (await day_end(made)).turn()
    (alert,) = await made.rows("SELECT kind, subject, message FROM alerts")
    assert (alert["kind"], alert["subject"]) == ("DAY_NOT_CLOSED", "paper 2019-01-01")
    assert str(resting) in alert["message"]
    assert str(waiting) not in alert["message"]
    assert "never read" in ((await made.order(resting)).status_reason or "")


async def test_an_unknown_order_stays_unknown_over_the_days_end_and_alarms_once(made: Desk) -> None:
    unknown = (await made.place()).order_id
    await made.execute("UPDATE order_commands SET state = 'UNKNOWN', attempt = 1 WHERE order_id = :id", id=unknown)
    await made.execute("UPDATE orders SET status = 'UNKNOWN' WHERE id = :id", id=unknown)
    await made.set_market_time(TOMORROW, step=2)
    duty = await day_end(made)
    await duty.turn()
    await duty.turn()
    assert await state(made, unknown) == ("UNKNOWN", "UNKNOWN")
    (alert,) = await made.rows("SELECT kind, order_id, count FROM alerts")
    assert (alert["kind"], alert["order_id"], alert["count"]) == ("ORDER_UNKNOWN", unknown, 1)


async def test_an_order_whose_cancel_is_on_its_way_ends_after_it(made: Desk) -> None:
    resting = await made.placed("B1")
    await made.execute(
        "UPDATE order_commands SET state = 'SUBMITTING', send_by = now() WHERE order_id = :id", id=resting
    )
    await made.set_market_time(TOMORROW, step=2)
    duty = await day_end(made)
    await duty.turn()
    assert await made.status(resting) == "PLACED"
    await made.execute("UPDATE order_commands SET state = 'DONE' WHERE order_id = :id", id=resting)
    await duty.turn()
    assert await made.status(resting) == "EXPIRED"


async def test_a_real_brokers_day_ends_only_once_the_new_days_book_was_read(made: Desk) -> None:
    resting = await made.placed("B1")
    # Not the column's trigger but the rule is meant: the mode is set as an account that was made live has it.
    await made.execute("ALTER TABLE broker_accounts DISABLE TRIGGER USER")
    await made.execute("UPDATE broker_accounts SET mode = 'LIVE'")
    await made.set_market_time(TOMORROW, step=2)
    duty = await day_end(made)
    await duty.turn()
    assert await made.status(resting) == "PLACED"
    await note_book_read(made, day=1)
    await duty.turn()
    assert await made.status(resting) == "EXPIRED"


async def test_balances_are_stored_once_a_day(made: Desk) -> None:
    await made.placed("B1", quantity=10)
    lease = await made.lease()
    account = await made.account_named()
    recorder = FillRecorder(uow=made.uow, fee_schedules=load_fee_schedules("angelone"))
    await recorder.record(account.id, [a_trade("B1", "1", 10, "180.00")], lease)
    await note_book_read(made)
    duty = await day_end(made)
    await duty.turn()
    assert await made.count("balance_snapshots") == 0
    await made.set_market_time(TOMORROW, step=2)
    await duty.turn()
    await duty.turn()
    (snapshot,) = await made.rows("SELECT * FROM balance_snapshots")
    assert (snapshot["trading_day"], snapshot["unrealized_pnl"]) == (ist_day(NOON), None)
    assert snapshot["cash"] == Decimal(1_000_000) - 1800 - snapshot["fees"]
    assert snapshot["fees"] > 0
    assert [row["cause"] for row in await made.rows("SELECT cause FROM reconciliation_requests")] == ["DAY_END"]


async def test_what_a_replay_left_open_ends_once_it_has_rested(made: Desk) -> None:
    waiting = (await made.place()).order_id
    resting = await made.placed("B1")
    account = await made.account_named()
    await made.pause(account)
    await made.execute(
        """INSERT INTO replays (id, account_id, source, day, speed, state, bars_done, bars_total, finished_at)
        VALUES (gen_random_uuid(), :id, 'paper', '2019-01-01', 0, 'FAILED', 0, 0, now())""",
        id=account.id,
    )
    duty = await day_end(made)
    await duty.turn()
    assert {await made.status(one) for one in (waiting, resting)} == {"PENDING", "PLACED"}
    await made.execute("UPDATE replays SET finished_at = now() - interval '2 minutes'")
    await duty.turn()
    assert await state(made, waiting) == ("EXPIRED", "DONE")
    assert await state(made, resting) == ("EXPIRED", "DONE")
    assert await made.count("alerts") == 0


async def test_a_keeper_that_lost_its_lease_ends_nothing(made: Desk) -> None:
    waiting = (await made.place(deadline=NOON + timedelta(minutes=1))).order_id
    duties = (await deadlines(made), await day_end(made))
    await made.set_market_time(TOMORROW, step=2)
    await made.execute("UPDATE leases SET epoch = epoch + 1")
    for duty in duties:
        with pytest.raises(LeaseLost):
            await duty.turn()
    assert await made.status(waiting) == "PENDING"
