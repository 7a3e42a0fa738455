"""What the database itself refuses, whoever asks."""

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.infra.ids import new_id
from tests.harness.records import World


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE order_events SET actor = 'someone else'",
        "DELETE FROM order_events",
        "TRUNCATE order_events",
        "TRUNCATE orders CASCADE",
    ],
)
async def test_the_history_of_orders_cannot_be_rewritten(world: World, statement: str) -> None:
    new = await world.save(world.new_order())
    with pytest.raises(DBAPIError, match="order_events is append-only"):
        await world.execute(statement)
    assert await world.events(new) == ["CREATED"]


async def test_the_mode_of_an_account_never_changes(world: World) -> None:
    with pytest.raises(DBAPIError, match="the mode of an account never changes"):
        await world.execute("UPDATE broker_accounts SET mode = 'LIVE'")
    assert await world.execute("UPDATE broker_accounts SET mode = 'PAPER', status = 'PAUSED'") == 1


ORDERS = "UPDATE orders SET "
COMMANDS = "UPDATE order_commands SET "


REFUSED = [
    (ORDERS + "status = 'LOST'", "ck_orders_status"),
    (ORDERS + "status = 'pending'", "ck_orders_status"),
    (ORDERS + "side = 'HOLD'", "ck_orders_side"),
    (ORDERS + "order_type = 'ICEBERG'", "ck_orders_order_type"),
    (ORDERS + "product = 'BO'", "ck_orders_product"),
    (ORDERS + "validity = 'GTC'", "ck_orders_validity"),
    (ORDERS + "urgency = 'SOON'", "ck_orders_urgency"),
    (ORDERS + "quantity = 0", "ck_orders_quantity"),
    (ORDERS + "quantity = -1", "ck_orders_quantity"),
    (ORDERS + "filled_quantity = -1", "ck_orders_filled_quantity"),
    (ORDERS + "price = 0", "ck_orders_price"),
    (ORDERS + "trigger_price = -0.05", "ck_orders_trigger_price"),
    (COMMANDS + "state = 'SENT'", "ck_order_commands_state"),
    (COMMANDS + "kind = 'HEDGE'", "ck_order_commands_kind"),
    (COMMANDS + "attempt = -1", "ck_order_commands_attempt"),
    (COMMANDS + "state = 'SUBMITTING', send_by = NULL", "ck_order_commands_claimed_has_send_by"),
    ("UPDATE broker_accounts SET orders_per_second = 0", "ck_broker_accounts_orders_per_second"),
    ("UPDATE broker_accounts SET status = 'CLOSED'", "ck_broker_accounts_status"),
    ("UPDATE instruments SET tick_size = 0", "ck_instruments_tick_size"),
    ("UPDATE instruments SET lot_size = 0", "ck_instruments_lot_size"),
    ("UPDATE instruments SET exchange = 'NYSE'", "ck_instruments_exchange"),
    (
        "INSERT INTO order_events (order_id, event, status, actor) SELECT id, 'LOST', 'PENDING', 'x' FROM orders",
        "ck_order_events_event",
    ),
    (
        "INSERT INTO order_events (order_id, event, status, actor) SELECT id, 'CREATED', 'LOST', 'x' FROM orders",
        "ck_order_events_status",
    ),
    ("INSERT INTO leases VALUES ('keeper', 'a', 0, now())", "ck_leases_epoch"),
]


async def test_a_value_that_no_rule_knows_is_refused(world: World) -> None:
    await world.save(world.new_order())
    for statement, constraint in REFUSED:
        with pytest.raises(IntegrityError, match=constraint):
            await world.execute(statement)


POSITION = """
INSERT INTO positions (id, account_id, instrument_id, product, quantity, open_cost, realized_pnl, fees, buy_quantity,
  sell_quantity)
VALUES (:id, :account_id, :instrument_id, 'MIS', :quantity, :open_cost, 0, 0, :bought, :sold)
"""


@pytest.mark.parametrize(
    ("figures", "constraint"),
    [
        ({"quantity": 10, "open_cost": 100, "bought": 20, "sold": 5}, "ck_positions_quantity"),
        ({"quantity": 0, "open_cost": 1, "bought": 5, "sold": 5}, "ck_positions_flat_has_no_cost"),
    ],
)
async def test_a_position_that_does_not_add_up_is_refused(
    world: World, figures: dict[str, int], constraint: str
) -> None:
    values = {"id": new_id(), "account_id": world.account.id, "instrument_id": world.instrument.id}
    with pytest.raises(IntegrityError, match=constraint):
        await world.execute(POSITION, {**values, **figures})


async def test_people_have_one_position_in_an_instrument_although_no_strategy_names_it(world: World) -> None:
    values = {"account_id": world.account.id, "instrument_id": world.instrument.id}
    flat = {"quantity": 0, "open_cost": 0, "bought": 0, "sold": 0}
    await world.execute(POSITION, {"id": new_id(), **values, **flat})
    with pytest.raises(IntegrityError, match="uq_positions"):
        await world.execute(POSITION, {"id": new_id(), **values, **flat})


BAR = """
INSERT INTO bars (source, instrument_id, start, open, high, low, close, volume)
VALUES ('s', :instrument_id, now(), :open, :high, :low, :close, :volume)
"""


@pytest.mark.parametrize(
    ("prices", "volume"),
    [((10, 9, 8, 9), 0), ((10, 11, 10.5, 10), 0), ((10, 11, 9, 12), 0), ((10, 11, 9, 10), -1)],
)
async def test_a_bar_whose_prices_cannot_be_is_refused(
    world: World, prices: tuple[float, float, float, float], volume: int
) -> None:
    values = dict(zip(("open", "high", "low", "close"), prices, strict=True))
    with pytest.raises(IntegrityError, match="ck_bars"):
        await world.execute(BAR, {"instrument_id": world.instrument.id, "volume": volume, **values})


async def test_a_broker_order_belongs_to_one_order_of_an_account(world: World) -> None:
    first, second = await world.save(world.new_order("one")), await world.save(world.new_order("two"))
    bind = "UPDATE orders SET broker_order_id = 'B1' WHERE id = :id"
    await world.execute(bind, {"id": first.id})
    with pytest.raises(IntegrityError, match="uq_orders_account_id_broker_order_id"):
        await world.execute(bind, {"id": second.id})


async def test_more_than_was_ordered_can_be_recorded_as_traded(world: World) -> None:
    await world.save(world.new_order(quantity=100))
    assert await world.execute("UPDATE orders SET filled_quantity = 150") == 1
