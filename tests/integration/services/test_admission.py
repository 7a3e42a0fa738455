"""What is taken and what is refused: entries by login and blocks, exits by what is left to reduce."""

import asyncio
import hashlib
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from app.core.accounts import AccountMode, BlockReason
from app.core.errors import InvalidOrder
from app.core.orders import OrderType, Product, Purpose, Side
from app.infra.ids import new_id
from app.repositories.accounts import StoredAccount
from app.services.orders import OrderAnswer, OrderRequest
from tests.harness.desk import Desk
from tests.integration.services.conftest import Floor

ENTRY = OrderRequest(
    account="paper",
    instrument="NSE:YESBANK",
    side=Side.BUY,
    quantity=10,
    order_type=OrderType.MARKET,
    product=Product.MIS,
)
EXIT = replace(ENTRY, side=Side.SELL, purpose=Purpose.EXIT)


async def ask(desk: Desk, request: OrderRequest, key: str = "k") -> OrderAnswer:
    return await desk.orders.place(
        request, caller="user:test", key=key, body_hash=hashlib.sha256(repr(request).encode()).digest()
    )


async def hold(desk: Desk, quantity: int, *, strategy_id: object = None) -> None:
    account = await desk.account_named()
    await desk.execute(
        "INSERT INTO positions (id, account_id, strategy_id, instrument_id, product, quantity, open_cost, realized_pnl,"
        " fees, buy_quantity, sell_quantity)"
        " VALUES (gen_random_uuid(), :a, :s, :i, 'MIS', :q, 0, 0, 0, :bought, :sold)",
        a=account.id,
        s=strategy_id,
        i=desk.instruments["YESBANK"].id,
        q=quantity,
        bought=max(quantity, 0),
        sold=max(-quantity, 0),
    )


async def set_session(desk: Desk, state: str, **ages_s: int) -> None:
    account = await desk.account_named()
    await desk.execute("DELETE FROM broker_sessions")
    await desk.execute(
        "INSERT INTO broker_sessions (account_id, state, version, failures, updated_at, expires_at)"
        " VALUES (:a, :state, 1, 0, now() - make_interval(secs => :changed), now() - make_interval(secs => :over))",
        a=account.id,
        state=state,
        changed=ages_s.get("changed", 0),
        over=ages_s.get("over", 0),
    )


@pytest.mark.parametrize(
    ("state", "ages", "code"),
    [
        ("BROKEN", {}, "broker_logged_out"),
        ("LOGGED_OUT", {}, "broker_logged_out"),
        ("EXPIRED", {"changed": 20}, None),
        ("EXPIRED", {"changed": 31}, "broker_logged_out"),
        ("LOGGED_IN", {"over": -3600}, None),
        ("LOGGED_IN", {"over": -3600, "changed": 7200}, None),
        ("LOGGED_IN", {"over": 20, "changed": 7200}, None),
        ("LOGGED_IN", {"over": 31, "changed": 7200}, "broker_logged_out"),
    ],
)
async def test_an_entry_is_refused_once_its_account_is_logged_out_for_longer_than_a_login_takes(
    plain_desk: Desk, state: str, ages: dict[str, int], code: str | None
) -> None:
    await set_session(plain_desk, state, **ages)
    await hold(plain_desk, 10)
    answer = await ask(plain_desk, ENTRY)
    assert answer.refusal_code == code
    assert (await ask(plain_desk, EXIT, "exit")).refusal_code is None


async def test_an_account_that_never_logged_in_is_given_the_time_that_a_first_login_takes(plain_desk: Desk) -> None:
    assert (await ask(plain_desk, ENTRY, "new")).order_id is not None
    await plain_desk.execute("UPDATE broker_accounts SET created_at = now() - interval '31 seconds'")
    assert (await ask(plain_desk, ENTRY, "old")).refusal_code == "broker_logged_out"
    again = await ask(plain_desk, ENTRY, "new")
    assert again.replayed  # its answer stands
    assert again.order_id is not None


async def test_a_blocked_account_takes_exits_alone_and_says_why(plain_desk: Desk) -> None:
    account = await plain_desk.account_named()
    await hold(plain_desk, 10)
    async with plain_desk.uow.transaction() as tx:
        await tx.blocks.set(account.id, BlockReason.ORPHAN, "x")
        await tx.blocks.set(account.id, BlockReason.MISMATCH, "y")
    refused = await ask(plain_desk, ENTRY)
    assert refused.refusal_code == "account_blocked"
    assert "MISMATCH, ORPHAN" in (refused.refusal_message or "")
    assert (await ask(plain_desk, EXIT, "exit")).order_id is not None
    async with plain_desk.uow.transaction() as tx:
        for reason in BlockReason:
            await tx.blocks.lift(account.id, reason)
    assert (await ask(plain_desk, ENTRY)).replayed  # a stored refusal stays
    assert (await ask(plain_desk, ENTRY, "k2")).order_id is not None


async def test_an_exit_takes_no_more_than_what_is_held_on_the_other_side(plain_desk: Desk) -> None:
    assert (await ask(plain_desk, EXIT, "flat")).refusal_code == "nothing_to_reduce"
    await hold(plain_desk, 25)
    assert (await ask(plain_desk, replace(EXIT, side=Side.BUY), "adds")).refusal_code == "nothing_to_reduce"
    assert (await ask(plain_desk, replace(EXIT, product=Product.CNC), "other")).refusal_code == "nothing_to_reduce"
    assert (await ask(plain_desk, replace(EXIT, quantity=26), "flips")).refusal_code == "nothing_to_reduce"
    assert (await ask(plain_desk, EXIT, "first")).order_id is not None
    assert (await ask(plain_desk, EXIT, "second")).order_id is not None
    third = await ask(plain_desk, EXIT, "third")  # 5 are left
    assert third.refusal_code == "nothing_to_reduce"
    assert "5" in (third.refusal_message or "")
    assert (await ask(plain_desk, EXIT, "first")).replayed
    assert (await ask(plain_desk, replace(EXIT, quantity=5), "rest")).order_id is not None


async def test_what_an_exit_has_filled_or_given_up_is_not_counted_twice(plain_desk: Desk) -> None:
    await hold(plain_desk, 10)
    first = await ask(plain_desk, EXIT, "first")
    await plain_desk.execute("UPDATE orders SET filled_quantity = 4, status = 'PARTIALLY_FILLED'")
    await plain_desk.execute("UPDATE positions SET quantity = 6, sell_quantity = 4")
    assert (await ask(plain_desk, replace(EXIT, quantity=1), "k1")).refusal_code == "nothing_to_reduce"
    await plain_desk.execute("UPDATE orders SET status = 'CANCELLED' WHERE id = :id", id=first.order_id)
    assert (await ask(plain_desk, replace(EXIT, quantity=6), "k2")).order_id is not None


async def test_a_short_position_is_reduced_by_buying(plain_desk: Desk) -> None:
    await hold(plain_desk, -10)
    assert (await ask(plain_desk, EXIT, "sell")).refusal_code == "nothing_to_reduce"
    assert (await ask(plain_desk, replace(EXIT, side=Side.BUY), "buy")).order_id is not None


async def test_exits_at_the_same_moment_never_take_more_than_is_held(plain_desk: Desk) -> None:
    await hold(plain_desk, 30)
    answers = await asyncio.gather(*(ask(plain_desk, EXIT, f"k{n}") for n in range(12)))
    taken = [answer for answer in answers if answer.order_id is not None]
    assert len(taken) == 3
    assert {answer.refusal_code for answer in answers if answer.order_id is None} == {"nothing_to_reduce"}


async def test_a_dead_feed_keeps_nobody_from_reducing_a_position(plain_desk: Desk) -> None:
    await hold(plain_desk, 30)
    await plain_desk.execute("UPDATE market_clock SET updated_at = clock_timestamp() - interval '11 minutes'")
    assert (await ask(plain_desk, ENTRY, "a")).refusal_code == "market_time_unknown"
    sold = await ask(plain_desk, EXIT, "b")
    assert (sold.refusal_code, sold.status) == (None, "PENDING")
    assert str((await plain_desk.order(sold.order_id)).trading_day) == "2019-01-01"


async def test_at_a_real_market_the_days_go_on_while_its_feed_is_dead(plain_desk: Desk) -> None:
    """Else an exit would be given the day before, and end with it."""
    real = replace(await plain_desk.account_named(), id=new_id(), name="real", mode=AccountMode.LIVE)
    await plain_desk.execute("UPDATE market_clock SET updated_at = clock_timestamp() - interval '11 minutes'")
    async with plain_desk.uow.transaction() as tx:
        await tx.accounts.add(StoredAccount(account=real, credentials=b"", base_url=None))
        now = await tx.accounts.now(real.id)
    (row,) = await plain_desk.rows("SELECT (now() AT TIME ZONE 'Asia/Kolkata')::date AS today")
    assert now is not None
    assert (now.stale, now.trading_day) == (True, row["today"])


async def test_an_exit_is_sent_where_entries_wait(floor: Floor) -> None:
    await hold(floor.desk, 10)
    answer = await ask(floor.desk, EXIT)
    assert await floor.run(answer) is None
    assert await floor.desk.status(answer.order_id) == "PLACED"


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        ("UPDATE instruments SET tick_size = 5 WHERE symbol = 'YESBANK'", {}),
        ("UPDATE instruments SET lot_size = 7 WHERE symbol = 'YESBANK'", {}),
    ],
)
async def test_a_key_keeps_its_answer_when_the_instruments_rules_change(
    plain_desk: Desk, change: str, changes: dict[str, Any]
) -> None:
    request = replace(ENTRY, order_type=OrderType.LIMIT, price=Decimal("182.65"), **changes)
    first = await ask(plain_desk, request)
    await plain_desk.execute(change)
    await plain_desk.orders._instruments.load()
    again = await ask(plain_desk, request)
    assert (again.order_id, again.replayed) == (first.order_id, True)
    for key, other in (("k", replace(request, quantity=11)), ("new", request)):
        with pytest.raises(InvalidOrder):
            await ask(plain_desk, other, key)
    assert await plain_desk.count("orders") == 1
