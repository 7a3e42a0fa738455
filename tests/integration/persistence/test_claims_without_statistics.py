"""On a fresh database the planner knows nothing of the tables: a claim must find its order by key all the same."""

from sqlalchemy import text

from app.repositories.commands import CommandRepository
from tests.harness.records import World

WAITING = """
INSERT INTO orders (id, account_id, client_order_id, tag, caller, instrument_id, side, quantity, order_type, product,
  validity, urgency, status, filled_quantity, trading_day, market_time, received_at)
SELECT gen_random_uuid(), account_id, 'c' || n, 'T' || n, caller, instrument_id, side, quantity, order_type, product,
  validity, urgency, status, filled_quantity, trading_day, market_time, received_at
FROM orders, generate_series(1, 2000) n
"""
ROWS_READ = text("SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'orders'")


async def test_a_claim_does_not_read_the_orders_that_wait_beside_it(world: World) -> None:
    new = await world.save(world.new_order())
    await world.execute(WAITING)
    async with world.engine.connect() as connection:
        before = (await connection.execute(ROWS_READ)).scalar() or 0
        claim = await CommandRepository(connection).claim(new.command_id, worker="w1", window_s=5.0, rung_at=None)
        assert claim is not None
        read = (await connection.execute(ROWS_READ)).scalar_one() - before
    assert read < 10
