"""A command has one owner, and only while account, deadline and status allow it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from app.core.instruments import Exchange
from app.core.orders import OrderStatus
from app.infra.ids import new_id
from app.repositories.commands import Claim
from app.repositories.order_rows import NewOrder
from tests.harness.records import NOON, World


async def claim(world: World, new: NewOrder, worker: str = "w1", rung_at: datetime | None = None) -> Claim | None:
    async with world.uow.statement() as tx:
        return await tx.commands.claim(new.command_id, worker=worker, window_s=5.0, rung_at=rung_at)


async def expire(world: World, new: NewOrder) -> bool:
    async with world.uow.statement() as tx:
        return await tx.commands.expire(new.command_id, worker="w1")


async def test_of_twenty_claimers_one_wins(world: World) -> None:
    new = await world.save(world.new_order())
    claims = await asyncio.gather(*(claim(world, new, f"w{n}") for n in range(20)))
    won = [one for one in claims if one is not None]
    assert len(won) == 1
    assert won[0].attempt == 1
    assert await world.events(new) == ["CREATED", "CLAIMED"]


async def test_a_claim_carries_all_that_the_broker_needs(world: World) -> None:
    new = await world.save(world.new_order(quantity=7))
    rung = datetime.now(UTC)
    won = await claim(world, new, rung_at=rung)
    assert won is not None
    assert (won.order_id, won.command_id, won.tag, won.quantity) == (new.id, new.command_id, new.tag, 7)
    assert (won.exchange, won.trading_symbol, won.token) == (Exchange.NSE, "YESBANK-EQ", "11915")
    order = await world.order(new)
    assert order.status is OrderStatus.SUBMITTING
    assert order.stages.rung == rung
    assert order.stages.claimed is not None


async def test_send_by_is_database_time_plus_the_window(world: World) -> None:
    new = await world.save(world.new_order())
    await claim(world, new)
    row = await world.row("""
      SELECT c.send_by - o.claimed_at, c.claimed_by, c.state FROM order_commands c JOIN orders o ON o.id = c.order_id
    """)
    assert abs(row[0] - timedelta(seconds=5)) < timedelta(milliseconds=100)
    assert (row[1], row[2]) == ("w1", "SUBMITTING")


async def test_an_instrument_without_a_symbol_at_the_broker_is_claimed_without_one(world: World) -> None:
    await world.execute("DELETE FROM broker_symbols")
    won = await claim(world, await world.save(world.new_order()))
    assert won is not None
    assert won.trading_symbol is won.token is None


async def test_a_command_that_does_not_exist_cannot_be_claimed(world: World) -> None:
    async with world.uow.statement() as tx:
        assert await tx.commands.claim(new_id(), worker="w1", window_s=5.0, rung_at=None) is None


async def test_nothing_is_claimed_while_the_account_is_paused_and_the_order_goes_on_waiting(world: World) -> None:
    new = await world.save(world.new_order())
    async with world.uow.transaction() as tx:
        await tx.accounts.pause(world.account.id)
    assert await claim(world, new) is None
    assert not await expire(world, new)
    assert (await world.order(new)).status is OrderStatus.PENDING
    await world.execute("UPDATE broker_accounts SET status = 'ACTIVE'")
    assert await claim(world, new) is not None


@pytest.mark.parametrize(("minutes", "claimable"), [(-1, False), (0, False), (1, True)])
async def test_an_order_is_sent_only_before_its_deadline_by_market_time(
    world: World, minutes: int, *, claimable: bool
) -> None:
    new = await world.save(world.new_order(deadline=NOON + timedelta(minutes=minutes)))
    assert (await claim(world, new) is not None) == claimable
    assert await expire(world, new) == (not claimable)
    assert (await world.order(new)).status is (OrderStatus.SUBMITTING if claimable else OrderStatus.EXPIRED)


async def test_an_expired_order_says_why_and_its_command_is_done(world: World) -> None:
    new = await world.save(world.new_order(deadline=NOON + timedelta(minutes=1)))
    await world.set_market_time(NOON + timedelta(minutes=2), step=2)
    assert await claim(world, new) is None
    assert await expire(world, new)
    assert not await expire(world, new)
    order = await world.order(new)
    assert order.stages.done is not None
    assert order.status_reason is not None
    assert "deadline" in order.status_reason
    assert await world.command_state(new) == "DONE"
    assert await world.events(new) == ["CREATED", "DEADLINE_PASSED"]


async def test_while_market_time_is_unknown_an_order_with_a_deadline_is_neither_sent_nor_expired(world: World) -> None:
    timed = await world.save(world.new_order("timed", deadline=NOON + timedelta(minutes=1)))
    plain = await world.save(world.new_order("plain"))
    await world.execute("DELETE FROM market_clock")
    assert await claim(world, timed) is None
    assert not await expire(world, timed)
    assert (await world.order(timed)).status is OrderStatus.PENDING
    assert await claim(world, plain) is not None


async def test_an_order_without_a_deadline_never_expires(world: World) -> None:
    new = await world.save(world.new_order())
    await world.set_market_time(NOON + timedelta(days=30), step=2)
    assert not await expire(world, new)
    assert await claim(world, new) is not None


async def test_a_claimed_order_no_longer_expires(world: World) -> None:
    new = await world.save(world.new_order(deadline=NOON + timedelta(minutes=1)))
    await claim(world, new)
    await world.set_market_time(NOON + timedelta(minutes=2), step=2)
    assert not await expire(world, new)
    assert (await world.order(new)).status is OrderStatus.SUBMITTING
