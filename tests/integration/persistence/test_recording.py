"""How a claim ended is recorded from each status that the table allows, by its own attempt alone."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from app.core.commands import CommandState
from app.core.orders import TERMINAL_STATUSES, OrderStatus
from app.core.transitions import OrderEvent, sources
from app.repositories.commands import Claim, Finding
from app.repositories.order_rows import OrderChange
from tests.harness.records import World

SENT = datetime(2026, 1, 5, 4, 0, 0, tzinfo=UTC)
ANSWERED = datetime(2026, 1, 5, 4, 0, 1, tzinfo=UTC)

FINDINGS = {
    OrderEvent.ACCEPTED: Finding(
        event=OrderEvent.ACCEPTED,
        command_state=CommandState.DONE,
        broker_order_id="B1",
        broker_unique_id="U1",
        sent_at=SENT,
        acknowledged_at=ANSWERED,
    ),
    OrderEvent.REFUSED: Finding(
        event=OrderEvent.REFUSED,
        command_state=CommandState.DONE,
        reason="AB1: no funds",
        sent_at=SENT,
        acknowledged_at=ANSWERED,
    ),
    OrderEvent.NOT_SENT: Finding(
        event=OrderEvent.NOT_SENT, command_state=CommandState.PENDING, reason="could not connect"
    ),
    OrderEvent.THROTTLED: Finding(event=OrderEvent.THROTTLED, command_state=CommandState.PENDING, reason="403"),
    OrderEvent.AMBIGUOUS: Finding(
        event=OrderEvent.AMBIGUOUS, command_state=CommandState.UNKNOWN, reason="no answer", sent_at=SENT
    ),
}

BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


class Case(NamedTuple):
    world: World
    claim: Claim

    async def record(self, finding: Finding) -> OrderStatus | None:
        async with self.world.uow.statement() as tx:
            recorded = await tx.commands.record(self.claim, finding, worker="w1")
        return None if recorded is None else recorded.status


@pytest.mark.parametrize("event", FINDINGS)
async def test_a_finding_moves_the_order_as_the_table_says_and_changes_nothing_where_it_says_nothing(
    world: World, event: OrderEvent
) -> None:
    for status in OrderStatus:
        finding = FINDINGS[event]
        if finding.broker_order_id is not None:
            finding = replace(finding, broker_order_id=f"B-{status}")
        await check_finding(world, finding, status)


async def check_finding(world: World, finding: Finding, status: OrderStatus) -> None:
    new = await world.save(world.new_order(status))
    case = Case(world, await world.claim(new))
    await world.execute("UPDATE orders SET status = :status WHERE id = :id", {"status": status, "id": new.id})
    before = await world.order(new)
    expected = sources(finding.event).get(status)
    assert await case.record(finding) is expected, status
    after = await world.order(new)
    if expected is None:
        assert after == before
        assert await world.events(new) == ["CREATED", "CLAIMED"]
        assert await world.command_state(new) == "SUBMITTING"
        return
    assert after.status is expected
    assert await world.events(new) == ["CREATED", "CLAIMED", finding.event]
    assert (after.stages.done is not None) == (expected in TERMINAL_STATUSES)
    assert after.status_reason == (before.status_reason if expected is status else finding.reason)
    assert after.broker_order_id == finding.broker_order_id
    assert after.stages.sent == finding.sent_at
    assert after.stages.acknowledged == finding.acknowledged_at


@pytest.mark.parametrize("event", FINDINGS)
async def test_the_command_follows_its_order(world: World, event: OrderEvent) -> None:
    new = await world.save(world.new_order())
    await Case(world, await world.claim(new)).record(FINDINGS[event])
    assert await world.command_state(new) == FINDINGS[event].command_state


async def test_an_ambiguous_end_of_an_order_that_the_socket_has_settled_leaves_no_unknown_command(
    world: World,
) -> None:
    new = await world.save(world.new_order())
    case = Case(world, await world.claim(new))
    await world.execute("UPDATE orders SET status = 'PLACED', broker_order_id = 'B1'")
    assert await case.record(FINDINGS[OrderEvent.AMBIGUOUS]) is OrderStatus.PLACED
    assert await world.command_state(new) == "DONE"


async def test_the_broker_id_that_the_socket_brought_first_is_kept(world: World) -> None:
    new = await world.save(world.new_order())
    case = Case(world, await world.claim(new))
    change = OrderChange(new.id, OrderEvent.ACCEPTED, OrderStatus.PLACED, "seen", "B0", None, done=False)
    async with world.uow.transaction() as tx:
        await tx.orders.apply([change])
    await case.record(FINDINGS[OrderEvent.ACCEPTED])
    assert (await world.order(new)).broker_order_id == "B0"
    row = await world.row("SELECT broker_unique_id FROM orders")
    assert row[0] == "U1"


@pytest.mark.parametrize("event", FINDINGS)
async def test_a_finding_of_an_attempt_that_is_over_changes_nothing(world: World, event: OrderEvent) -> None:
    new = await world.save(world.new_order())
    stale = Case(world, await world.claim(new))
    await stale.record(FINDINGS[OrderEvent.NOT_SENT])
    assert (await world.claim(new)).attempt == 2
    assert await stale.record(FINDINGS[event]) is None
    assert (await world.order(new)).status is OrderStatus.SUBMITTING


async def test_a_finding_recorded_twice_counts_once(world: World) -> None:
    new = await world.save(world.new_order())
    case = Case(world, await world.claim(new))
    twice = await asyncio.gather(*(case.record(FINDINGS[OrderEvent.NOT_SENT]) for _ in range(8)))
    assert sorted(map(str, twice)) == ["None"] * 7 + ["PENDING"]
    assert await world.events(new) == ["CREATED", "CLAIMED", "NOT_SENT"]


async def test_a_repeated_finding_that_waited_while_its_order_was_claimed_anew_changes_nothing(world: World) -> None:
    new = await world.save(world.new_order())
    case = Case(world, await world.claim(new))
    not_sent = FINDINGS[OrderEvent.NOT_SENT]
    async with world.uow.transaction() as tx:
        await tx.commands.record(case.claim, not_sent, worker="w1")
        again = await tx.commands.claim(new.command_id, worker="w2", window_s=5.0, rung_at=None)
        assert again is not None
        repeated = asyncio.create_task(case.record(not_sent))
        while (await world.row(BLOCKED))[0] == 0:
            assert not repeated.done()
    assert await repeated is None
    assert (await world.order(new)).status is OrderStatus.SUBMITTING
    assert await world.command_state(new) == "SUBMITTING"


async def test_an_order_that_was_not_sent_is_claimed_again_and_its_attempts_are_counted(world: World) -> None:
    new = await world.save(world.new_order())
    for attempt in (1, 2, 3):
        claim = await world.claim(new)
        assert claim.attempt == attempt
        await Case(world, claim).record(FINDINGS[OrderEvent.THROTTLED])
    async with world.uow.statement() as tx:
        timeline = await tx.orders.timeline(new.id)
    assert [event.detail["attempt"] for event in timeline if event.event == "THROTTLED"] == ["1", "2", "3"]
    assert timeline[-1].detail["reason"] == "403"
    assert timeline[-1].actor == "w1"
