"""The queries that run all the time find their rows through an index."""

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import event

from app.core.orders import OrderStatus
from app.infra.ids import new_id
from app.repositories.order_rows import OrderFilter
from app.repositories.unit_of_work import Transaction, UnitOfWork
from tests.harness.records import World


async def sweep(tx: Transaction, world: World) -> None:
    await tx.commands.take_unrung(batch=100)


async def dead_claims(tx: Transaction, world: World) -> None:
    await tx.commands.bury_dead(margin_s=2.0, batch=100, actor="keeper")


async def held_cancels(tx: Transaction, world: World) -> None:
    await tx.commands.release_held(batch=100)


async def held_cancel_of_order(tx: Transaction, world: World) -> None:
    await tx.commands.release_held([new_id()])


async def overtaken_changes(tx: Transaction, world: World) -> None:
    await tx.commands.end_over(batch=100)


async def cancels_to_repeat(tx: Transaction, world: World) -> None:
    await tx.commands.repeat_cancels(batch=100)


async def change_claim(tx: Transaction, world: World) -> None:
    await tx.commands.claim_change(new_id(), worker="w", window_s=5.0)


async def newest_of_account(tx: Transaction, world: World) -> None:
    await tx.orders.page(OrderFilter(account_id=world.account.id), limit=50)


async def newest_of_strategy(tx: Transaction, world: World) -> None:
    await tx.orders.page(OrderFilter(strategy_id=new_id()), limit=50)


async def newest_of_all(tx: Transaction, world: World) -> None:
    await tx.orders.page(OrderFilter(status=OrderStatus.PENDING), limit=50)


async def history(tx: Transaction, world: World) -> None:
    await tx.orders.timeline(new_id())


async def fills_of_order(tx: Transaction, world: World) -> None:
    await tx.fills.turnovers([new_id()])


async def newest_fills(tx: Transaction, world: World) -> None:
    await tx.fills.page(account_id=world.account.id, order_id=None, instrument_id=None, before=None, limit=50)


async def by_broker_id(tx: Transaction, world: World) -> None:
    await tx.orders.lock_by_broker_id(world.account.id, ["B1"])


async def by_tag(tx: Transaction, world: World) -> None:
    await tx.orders.lock_by_tag(world.account.id, ["SDAAAAAAAAAAAAAAAA"])


QUERIES = [
    (sweep, "ix_order_commands_waiting"),
    (dead_claims, "ix_order_commands_claimed"),
    (held_cancels, "uq_order_commands_open"),
    (held_cancel_of_order, "ix_order_commands_order"),
    (overtaken_changes, "uq_order_commands_open"),
    (cancels_to_repeat, "uq_order_commands_open"),
    (change_claim, "pk_order_commands"),
    (newest_of_account, "ix_orders_account_newest"),
    (newest_of_strategy, "ix_orders_strategy_newest"),
    (newest_of_all, "pk_orders"),
    (history, "ix_order_events_order"),
    (fills_of_order, "ix_fills_order"),
    (newest_fills, "ix_fills_account_newest"),
]

LOOKUPS = [(by_broker_id, "uq_orders_account_id_broker_order_id"), (by_tag, "uq_orders_account_id_tag")]

COPIES = """
INSERT INTO orders (id, account_id, client_order_id, tag, broker_order_id, caller, instrument_id, side, quantity,
  order_type, product, validity, urgency, status, filled_quantity, trading_day, market_time, received_at)
SELECT gen_random_uuid(), account_id, 'c' || n, 'T' || n, 'N' || n, caller, instrument_id, side, quantity,
  order_type, product, validity, urgency, status, filled_quantity, trading_day, market_time, received_at
FROM orders, generate_series(1, 500) n
"""


@pytest.mark.parametrize(("query", "index"), QUERIES, ids=[index for _, index in QUERIES])
async def test_the_query_uses_its_index(
    world: World, query: Callable[[Transaction, World], Awaitable[None]], index: str
) -> None:
    assert index in await plan_of(world, query)


@pytest.mark.parametrize(("query", "index"), LOOKUPS, ids=[index for _, index in LOOKUPS])
async def test_an_order_is_found_by_what_the_broker_calls_it_without_reading_the_others(
    world: World, query: Callable[[Transaction, World], Awaitable[None]], index: str
) -> None:
    await world.save(world.new_order())
    await world.execute(COPIES)
    await world.execute("ANALYZE orders")
    assert index in await plan_of(world, query, sort=True)


async def plan_of(world: World, query: Callable[[Transaction, World], Awaitable[None]], *, sort: bool = False) -> str:
    """Return the plan of the statement that the repository really sends, with tables scanned only in need.

    Test tables are small, so that without this hint reading them whole would be the better plan.
    """
    sent: list[tuple[str, object]] = []

    def remember(*arguments: object) -> None:
        sent.append((str(arguments[2]), arguments[3]))

    event.listen(world.engine.sync_engine, "before_cursor_execute", remember)
    async with UnitOfWork(world.engine).transaction() as tx:
        await query(tx, world)
    event.remove(world.engine.sync_engine, "before_cursor_execute", remember)
    ((statement, parameters),) = sent
    async with world.engine.connect() as connection:
        await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        await connection.exec_driver_sql(f"SET LOCAL enable_sort = {sort}")
        plan = await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)  # type: ignore[arg-type]
        return "\n".join(str(row[0]) for row in plan)
