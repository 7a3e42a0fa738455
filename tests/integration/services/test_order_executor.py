"""One command to the broker: what each outcome makes of the order, and that no attempt is ever sent twice."""

import asyncio
from datetime import timedelta

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy.exc import DBAPIError

from app.brokers.guarded import Spend
from app.core.instruments import Exchange
from app.core.outcomes import Accepted, Ambiguous, NotSent, PlaceOutcome, Refused, Throttled
from app.core.ports import PlaceRequest
from app.infra.migrations import migrate
from app.keeper.dead_claims import DeadClaims
from app.services.command_sending import send
from app.services.order_executor import Later
from tests.harness.desk import NOON, desk
from tests.harness.postgres import PostgresProcess
from tests.harness.queue import eventually
from tests.integration.services.conftest import Floor, a_floor, until_sent

OUTCOMES: list[tuple[PlaceOutcome, tuple[str, str, int], str, float | None]] = [
    (Accepted(broker_order_id="B7", broker_unique_id="u7"), ("PLACED", "DONE", 1), "ACCEPTED", None),
    (Refused(code="AB1001", message="no margin"), ("REJECTED", "DONE", 1), "REFUSED", None),
    (NotSent(reason="no connection"), ("PENDING", "PENDING", 1), "NOT_SENT", 0.2),
    (Throttled(reason="slow down", retry_after_s=1.5), ("PENDING", "PENDING", 1), "THROTTLED", 1.5),
    (Ambiguous(reason="timed out"), ("UNKNOWN", "UNKNOWN", 1), "AMBIGUOUS", None),
]


async def test_each_outcome_has_its_status_its_command_state_and_its_event(floor: Floor) -> None:
    for outcome, state, event, delay_s in OUTCOMES:
        answer = await floor.desk.place()
        floor.broker.script = [outcome]
        later = await floor.run(answer)
        assert await floor.state(answer) == state
        assert await floor.desk.events(answer.order_id) == ["CREATED", "CLAIMED", event]
        assert (later is None) == (delay_s is None)
        assert later is None or delay_s is None or delay_s <= later.delay_s <= delay_s * 1.25


async def test_the_broker_is_told_what_was_ordered_under_the_orders_own_tag(floor: Floor) -> None:
    answer = await floor.desk.place(quantity=30)
    await floor.run(answer)
    (request,) = floor.broker.received
    assert (request.trading_symbol, request.token, request.quantity) == ("YESBANK-EQ", "11915", 30)
    assert request.tag == answer.tag
    order = await floor.desk.order(answer.order_id)
    assert order.broker_order_id == "B1"
    stages = order.stages
    assert stages.rung is not None
    assert stages.claimed is not None
    assert stages.sent is not None
    assert stages.acknowledged is not None
    assert stages.received <= stages.claimed
    assert stages.sent <= stages.acknowledged


async def test_a_refusal_says_why(floor: Floor) -> None:
    answer = await floor.desk.place()
    floor.broker.script = [Refused(code="AB1001", message="no margin")]
    await floor.run(answer)
    order = await floor.desk.order(answer.order_id)
    assert order.status_reason == "AB1001: no margin"
    assert order.stages.done is not None


async def test_a_command_rung_twice_is_sent_once(floor: Floor) -> None:
    answer = await floor.desk.place()
    others = [floor.another_executor(f"w{n}") for n in range(2, 8)]
    assert await asyncio.gather(*(floor.run(answer, one) for one in [floor.executor, *others])) == [None] * 7
    assert await floor.run(answer) is None
    assert len(floor.broker.received) == 1
    assert await floor.state(answer) == ("PLACED", "DONE", 1)


async def test_not_now_leaves_the_row_untouched(floor: Floor) -> None:
    answer = await floor.desk.place()
    before = await floor.desk.command(answer.order_id)
    floor.permits.waits_s = [0.25, RedisConnectionError("gone")]
    assert await floor.run(answer) == Later(0.25)
    assert isinstance(await floor.run(answer), Later)
    floor.tokens.stored, kept = None, floor.tokens.stored
    floor.guarded._cached = None
    assert isinstance(await floor.run(answer), Later)
    assert await floor.desk.command(answer.order_id) == before
    assert await floor.desk.events(answer.order_id) == ["CREATED"]
    floor.tokens.stored = kept
    floor.guarded._ask_tokens_at = 0.0
    assert await floor.run(answer) is None
    assert await floor.state(answer) == ("PLACED", "DONE", 1)


async def test_a_paused_account_sends_nothing_until_it_is_active_again(floor: Floor) -> None:
    answer = await floor.desk.place()
    await floor.desk.pause(await floor.desk.account_named())
    assert await floor.run(answer) is None
    assert await floor.state(answer) == ("PENDING", "PENDING", 0)
    await floor.desk.execute("UPDATE broker_accounts SET status = 'ACTIVE'")
    await floor.run(answer)
    assert await floor.state(answer) == ("PLACED", "DONE", 1)


async def test_past_its_deadline_an_order_expires_unsent(floor: Floor) -> None:
    answer = await floor.desk.place(deadline=NOON + timedelta(seconds=10))
    await floor.desk.set_market_time(NOON + timedelta(seconds=10), step=2)
    assert await floor.run(answer) is None
    assert await floor.state(answer) == ("EXPIRED", "DONE", 0)
    assert await floor.desk.events(answer.order_id) == ["CREATED", "DEADLINE_PASSED"]
    assert floor.broker.received == []


async def test_without_a_symbol_at_the_broker_the_order_is_refused_and_nothing_is_sent(floor: Floor) -> None:
    answer = await floor.desk.place()
    await floor.desk.execute("DELETE FROM broker_symbols")
    await floor.run(answer)
    assert await floor.state(answer) == ("REJECTED", "DONE", 1)
    assert "no_broker_symbol" in str((await floor.desk.order(answer.order_id)).status_reason)
    assert floor.broker.received == []


async def test_timeout_is_not_failure(floor: Floor) -> None:
    """An adapter that fails after the write may have placed the order: UNKNOWN, and never sent again."""
    answer = await floor.desk.place()
    floor.broker.script = [TimeoutError("read timed out")]
    assert await floor.run(answer) is None
    assert await floor.state(answer) == ("UNKNOWN", "UNKNOWN", 1)
    assert await floor.run(answer) is None
    assert len(floor.broker.received) == 1


async def test_unknown_never_becomes_rejected(floor: Floor) -> None:
    """No timer and no further bell moves an UNKNOWN order."""
    answer = await floor.desk.place(deadline=NOON + timedelta(seconds=1))
    floor.broker.script = [Ambiguous(reason="timed out")]
    await floor.run(answer)
    await floor.desk.set_market_time(NOON + timedelta(hours=9), step=2)
    await floor.desk.execute("UPDATE order_commands SET send_by = now() - interval '1 day'")
    keeper = DeadClaims(uow=floor.desk.uow, lease=await floor.desk.lease(), margin_s=0.0, bell=floor.desk.base.bell)
    for _ in range(3):
        await keeper.turn()
        await floor.run(answer)
    assert await floor.state(answer) == ("UNKNOWN", "UNKNOWN", 1)
    assert len(floor.broker.received) == 1


async def test_accepted_then_retry(floor: Floor) -> None:
    """An accepted order is not sent again, however often its bell rings or its request is repeated."""
    answer = await floor.desk.place()
    for _ in range(5):
        await floor.run(answer)
    assert len(floor.broker.received) == 1


async def test_what_was_provably_not_sent_is_sent_again_under_the_same_tag(floor: Floor) -> None:
    answer = await floor.desk.place()
    floor.broker.script = [NotSent(reason="no connection"), Throttled(reason="403"), Accepted(broker_order_id="B9")]
    for _ in range(3):
        await floor.run(answer)
    assert await floor.state(answer) == ("PLACED", "DONE", 3)
    assert {request.tag for request in floor.broker.received} == {answer.tag}


async def test_a_dead_session_is_told_to_all_and_the_order_goes_once_after_the_next_login(floor: Floor) -> None:
    answer = await floor.desk.place()
    floor.broker.script = [NotSent(reason="token expired", session_dead=True)]
    stored = floor.tokens.stored
    await floor.run(answer)
    assert await floor.state(answer) == ("PENDING", "PENDING", 1)
    assert floor.tokens.dead == [1]
    assert isinstance(await floor.run(answer), Later)
    floor.tokens.stored = stored
    floor.guarded._ask_tokens_at = 0.0
    assert await floor.run(answer) is None
    assert await floor.run(answer) is None
    assert await floor.state(answer) == ("PLACED", "DONE", 2)
    assert len(floor.broker.received) == 2


async def test_stuck_processing_not_blindly_retried(floor: Floor) -> None:
    """A claim whose worker went silent becomes UNKNOWN; its late answer is still the truth."""
    answer = await floor.desk.place()
    go_on = asyncio.Event()

    async def frozen(request: PlaceRequest) -> PlaceOutcome:
        await go_on.wait()
        return Accepted(broker_order_id="B1")

    floor.broker.script = [frozen]
    running = asyncio.create_task(floor.run(answer, floor.another_executor("w1", send_window_s=0.01)))
    await until_sent(floor.broker)
    keeper = DeadClaims(uow=floor.desk.uow, lease=await floor.desk.lease(), margin_s=0.0, bell=floor.desk.base.bell)

    async def buried() -> bool:
        await keeper.turn()
        return await floor.desk.status(answer.order_id) == "UNKNOWN"

    await eventually(buried)
    assert await floor.run(answer, floor.another_executor("w2")) is None
    assert len(floor.broker.received) == 1
    go_on.set()
    await running
    assert await floor.state(answer) == ("PLACED", "DONE", 1)
    assert await floor.desk.events(answer.order_id) == ["CREATED", "CLAIMED", "CLAIM_DIED", "ACCEPTED"]


async def test_queue_lost_on_kill(floor: Floor) -> None:
    """A worker that dies with a job leaves a row that says so: what was claimed is UNKNOWN, what waited waits."""
    claimed, waiting = await floor.desk.place(), await floor.desk.place()
    command = await floor.desk.command(claimed.order_id)
    async with floor.desk.uow.statement() as tx:
        assert await tx.commands.claim(command["id"], worker="dead", window_s=0.0, rung_at=None)
    await floor.desk.base.redis.flushall()
    keeper = DeadClaims(uow=floor.desk.uow, lease=await floor.desk.lease(), margin_s=0.0, bell=floor.desk.base.bell)
    await keeper.turn()
    assert await floor.state(claimed) == ("UNKNOWN", "UNKNOWN", 1)
    assert await floor.run(waiting) is None
    assert await floor.state(waiting) == ("PLACED", "DONE", 1)


async def test_a_finding_that_no_longer_fits_is_not_forced_on_the_order(floor: Floor) -> None:
    """The order socket told the truth meanwhile: a late NOT_SENT must not send a live order again."""
    answer = await floor.desk.place()

    async def overtaken(request: PlaceRequest) -> PlaceOutcome:
        await floor.desk.execute("UPDATE orders SET status = 'PLACED', broker_order_id = 'B5'")
        return NotSent(reason="so it seemed")

    floor.broker.script = [overtaken]
    await floor.run(answer)
    assert (await floor.state(answer))[:2] == ("PLACED", "SUBMITTING")
    await floor.run(answer)
    assert len(floor.broker.received) == 1


async def test_a_cancelled_job_still_sends_and_records_what_it_claimed(floor: Floor) -> None:
    answer = await floor.desk.place()
    go_on = asyncio.Event()

    async def slow(request: PlaceRequest) -> PlaceOutcome:
        await go_on.wait()
        return Accepted(broker_order_id="B1")

    floor.broker.script = [slow]
    running = asyncio.create_task(floor.run(answer))
    await until_sent(floor.broker)
    running.cancel()
    await asyncio.sleep(0)
    assert not running.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await floor.state(answer) == ("PLACED", "DONE", 1)


async def test_the_guard_calls_no_broker_inside_an_open_transaction(floor: Floor) -> None:
    permit = await floor.guarded.permit(Spend(Exchange.NSE, urgent=False))
    async with floor.desk.uow.transaction():
        with pytest.raises(RuntimeError, match="transaction"):
            await floor.guarded.place(permit, None, deadline=0.0)  # type: ignore[arg-type]
    assert floor.broker.received == []


async def test_a_permit_that_grew_old_during_the_claim_is_taken_again_or_nothing_is_sent(floor: Floor) -> None:
    answer = await floor.desk.place()
    command = await floor.desk.command(answer.order_id)
    permit = await floor.guarded.permit(Spend(Exchange.NSE, urgent=False))
    async with floor.desk.uow.statement() as tx:
        claim = await tx.commands.claim(command["id"], worker="w1", window_s=5, rung_at=None)
    assert claim is not None

    async def aged() -> bool:
        return floor.desk.base.clock.monotonic() - permit.asked_at > 0.1  # type: ignore[union-attr]

    await eventually(aged)
    floor.permits.waits_s = [0.3]
    outcome = await send(floor.guarded, permit, claim, deadline=float("inf"))  # type: ignore[arg-type]
    assert outcome == NotSent(reason="permit too old: over_budget")
    outcome = await send(floor.guarded, permit, claim, deadline=float("inf"))  # type: ignore[arg-type]
    assert isinstance(outcome, Accepted)


async def test_filled_but_db_down(redis_url: str) -> None:
    """The broker took it and the database is away: the answer is held and recorded when it is back."""
    server = PostgresProcess(durable=True)
    try:
        await asyncio.to_thread(migrate, server.url)
        async with desk(server.url, redis_url) as made:
            floor = await a_floor(made)
            answer = await made.place()

            async def while_the_database_dies(request: PlaceRequest) -> PlaceOutcome:
                server.kill()
                return Accepted(broker_order_id="B1")

            floor.broker.script = [while_the_database_dies]
            running = asyncio.create_task(floor.run(answer, floor.another_executor("w1", record_for_s=30)))
            await until_sent(floor.broker)
            await asyncio.to_thread(server.restart)
            assert await running is None
            assert await floor.state(answer) == ("PLACED", "DONE", 1)

            lost = await made.place()
            floor.broker.script = [while_the_database_dies]
            with pytest.raises((OSError, DBAPIError)):  # the keeper will call it UNKNOWN
                await floor.run(lost, floor.another_executor("w1", record_for_s=0.1))
    finally:
        server.stop()
