"""Comparing an account over a scripted broker: what real accounts have of their own, and what explains a difference."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import cast

import pytest

from app.core.accounts import Account, AccountMode
from app.core.errors import BrokerUnreadable, SessionDead
from app.core.instruments import Exchange
from app.core.orders import Product, Side
from app.core.ports import BrokerOrder, BrokerOrderState, BrokerPosition, BrokerSession, Funds, OrderBook
from app.core.reconciliations import DifferenceKind, Suspicions
from app.infra.fee_schedules import load_fee_schedules
from app.keeper.account_reconciler import AccountReconciler, Rhythm
from app.services import reconciliation
from app.services.broker_pool import BrokerPool
from app.services.fill_recorder import FillRecorder
from app.services.reconciliation import Reconciliation
from tests.harness.desk import a_trade
from tests.harness.queue import eventually
from tests.integration.services.conftest import Floor, OneBroker

FEES = load_fee_schedules("angelone")


def held(quantity: int, *, product: Product = Product.MIS) -> BrokerPosition:
    return BrokerPosition(
        exchange=Exchange.NSE,
        trading_symbol="YESBANK-EQ",
        token="11915",
        product=product,
        net_quantity=quantity,
        average_price=Decimal(180),
    )


def a_row(broker_order_id: str, *, filled: int) -> BrokerOrder:
    return BrokerOrder(
        broker_order_id=broker_order_id,
        broker_unique_id=None,
        tag=None,
        exchange=Exchange.NSE,
        trading_symbol="YESBANK-EQ",
        side=Side.BUY,
        quantity=10,
        filled_quantity=filled,
        average_price=Decimal(180),
        state=BrokerOrderState.COMPLETE,
        raw_status="complete",
        text="",
    )


@dataclass
class Books:
    """What the broker says it holds."""

    cash: Decimal = Decimal(1_000_000)
    positions: list[BrokerPosition] = field(default_factory=list)
    error: Exception | None = None
    hangs: bool = False

    async def read_positions(self, session: BrokerSession) -> list[BrokerPosition]:
        if self.error is not None:
            raise self.error
        if self.hangs:
            await asyncio.Event().wait()
        return self.positions

    async def read_funds(self, session: BrokerSession) -> Funds:
        return Funds(available=self.cash, net=self.cash)


@pytest.fixture
def books(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> Books:
    made = Books()
    monkeypatch.setattr(floor.broker, "positions", made.read_positions)
    monkeypatch.setattr(floor.broker, "funds", made.read_funds)
    return made


async def a_reconciliation(floor: Floor, *, live: bool = False, settles_after_s: float = 0.0) -> Reconciliation:
    return Reconciliation(
        await the_account(floor, live=live),
        uow=floor.desk.uow,
        brokers=cast(BrokerPool, OneBroker(floor.guarded)),
        clock=floor.desk.base.clock,
        lease=await floor.desk.lease(),
        settles_after_s=settles_after_s,
    )


async def the_account(floor: Floor, *, live: bool) -> Account:
    account = await floor.desk.account_named()
    return replace(account, mode=AccountMode.LIVE) if live else account


async def buy(floor: Floor, *, product: Product = Product.MIS, quantity: int = 10) -> None:
    await floor.desk.placed("B1", quantity=quantity, product=product)
    recorder = FillRecorder(uow=floor.desk.uow, fee_schedules=FEES)
    account = await floor.desk.account_named()
    await recorder.record(account.id, [a_trade("B1", "1", quantity, "180.00")], await floor.desk.lease())


async def our_cash(floor: Floor) -> Decimal:
    (row,) = await floor.desk.rows(
        "SELECT opening_cash - flow_before + (SELECT coalesce(sum(realized_pnl - open_cost - fees), 0) FROM positions) "
        "AS cash FROM balances"
    )
    return Decimal(row["cash"])


async def test_a_real_accounts_ledger_begins_with_the_first_reading_and_counts_what_comes_after(
    floor: Floor, books: Books
) -> None:
    await floor.desk.execute("DELETE FROM balances")
    await buy(floor)
    books.cash, books.positions = Decimal("55555.55"), [held(10)]
    look = await (await a_reconciliation(floor, live=True)).look(with_orders=False)
    assert look.differences == ()
    assert await our_cash(floor) == Decimal("55555.55")
    (row,) = await floor.desk.rows("SELECT opening_cash, flow_before FROM balances")
    assert row["flow_before"] < -1800
    books.cash = Decimal("70000.00")  # money was paid in: the ledger stays as it began
    await (await a_reconciliation(floor, live=True)).look(with_orders=False)
    assert await our_cash(floor) == Decimal("55555.55")


async def test_a_paper_ledger_is_never_opened_by_a_reading(floor: Floor, books: Books) -> None:
    await floor.desk.execute("DELETE FROM balances")
    await (await a_reconciliation(floor)).look(with_orders=False)
    assert await floor.desk.count("balances") == 0


async def test_an_order_nobody_knows_the_end_of_explains_every_difference_of_its_instrument(
    floor: Floor, books: Books
) -> None:
    answer = await floor.desk.place()
    await floor.desk.execute("UPDATE orders SET status = 'UNKNOWN' WHERE id = :id", id=answer.order_id)
    books.positions, books.cash = [held(10)], Decimal(1)
    look = await (await a_reconciliation(floor)).look(with_orders=True)
    assert (look.differences, look.suspected, look.counts["in_motion"]) == ((), 0, 1)


async def test_a_trade_that_is_in_the_brokers_book_and_not_yet_in_ours_explains_for_a_while(
    floor: Floor, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    await floor.desk.placed("B1", quantity=10)
    books.positions = [held(10)]
    floor.broker.trades = [a_trade("B1", "1", 10)]
    look = await (await a_reconciliation(floor)).look(with_orders=False)
    assert (look.differences, look.suspected) == ((), 1)
    # The order book tells of it too, where the trade book lags.
    floor.broker.trades, floor.broker.book = [], OrderBook([a_row("B1", filled=10)])
    look = await (await a_reconciliation(floor)).look(with_orders=True)
    assert (look.differences, look.suspected) == ((), 1)
    monkeypatch.setattr(reconciliation, "EXPLAINED_FOR_S", 0.0)
    look = await (await a_reconciliation(floor)).look(with_orders=False)
    assert [one.theirs for one in look.differences] == ["10"]


async def test_what_was_delivered_on_an_earlier_day_is_no_position_of_a_real_account(
    floor: Floor, books: Books
) -> None:
    await buy(floor, product=Product.CNC)
    books.positions, books.cash = [held(10, product=Product.CNC)], await our_cash(floor)
    live, paper = await a_reconciliation(floor, live=True), await a_reconciliation(floor)
    assert (await live.look(with_orders=False)).differences == ()
    await floor.desk.execute("UPDATE market_clock SET trading_day = trading_day + 1")
    assert (await paper.look(with_orders=False)).differences == ()
    books.positions = []
    assert (await live.look(with_orders=False)).differences == ()
    assert len((await paper.look(with_orders=False)).differences) == 1


async def test_a_reading_that_hangs_or_fails_is_unreadable_and_stores_nothing(
    floor: Floor, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciliation, "LOOK_TIMEOUT_S", 0.05)
    made = await a_reconciliation(floor)
    books.hangs = True
    with pytest.raises(BrokerUnreadable, match="longer than"):
        await made.look(with_orders=True)
    books.error = BrokerUnreadable("half a body")
    with pytest.raises(BrokerUnreadable, match="half"):
        await made.look(with_orders=True)
    books.error = SessionDead("the token is dead")
    with pytest.raises(SessionDead):
        await made.look(with_orders=True)
    assert floor.tokens.dead == [1]
    with pytest.raises(BrokerUnreadable, match="not logged in"):
        await made.look(with_orders=True)
    (row,) = await floor.desk.rows("SELECT broker_cash FROM balances")
    assert row["broker_cash"] is None
    assert await floor.desk.count("book_reads") == 0


async def test_the_reading_of_a_whole_book_is_kept_for_the_days_end(floor: Floor, books: Books) -> None:
    made = await a_reconciliation(floor)
    await made.look(with_orders=False)
    assert await floor.desk.count("book_reads") == 0
    await made.look(with_orders=True)
    (read,) = await floor.desk.rows("SELECT trading_day, read_at < clock_timestamp() AS past FROM book_reads")
    assert (str(read["trading_day"]), read["past"]) == ("2019-01-01", True)


@asynccontextmanager
async def reconciling(
    floor: Floor, *, live: bool, rhythm: Rhythm, reconciliation: Reconciliation | None = None
) -> AsyncIterator[None]:
    made = AccountReconciler(
        await the_account(floor, live=live),
        reconciliation or await a_reconciliation(floor, live=live),
        uow=floor.desk.uow,
        lease=await floor.desk.lease(),
        clock=floor.desk.base.clock,
        rhythm=rhythm,
    )
    task = asyncio.create_task(made.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_real_brokers_other_cash_is_told_once_and_blocks_nothing(floor: Floor, books: Books) -> None:
    books.cash = Decimal(999_000)
    async with reconciling(floor, live=True, rhythm=Rhythm(look_every_s=0.05)):

        async def told() -> bool:
            return await floor.desk.count("reconciliations") == 1

        await eventually(told)
        books.cash = Decimal(998_000)  # a margin was taken: the same finding, no news

        async def read_again() -> bool:
            (row,) = await floor.desk.rows("SELECT broker_cash FROM balances")
            return row["broker_cash"] == 998_000

        await eventually(read_again)
    (alert,) = await floor.desk.rows("SELECT kind, severity, count FROM alerts")
    assert (alert["kind"], alert["severity"], alert["count"]) == ("CASH_MISMATCH", "INFO", 1)
    assert (await floor.desk.count("account_blocks"), await floor.desk.count("reconciliations")) == (0, 1)


EAGER = Rhythm(look_every_s=0.05, book_every_s=3600.0, suspect_every_s=0.05, trouble_every_s=0.05)


async def until_blocked_by(floor: Floor, *reasons: str) -> None:
    async def is_so() -> bool:
        return [row["reason"] for row in await floor.desk.rows("SELECT reason FROM account_blocks")] == [*reasons]

    await eventually(is_so)


async def looked_again(floor: Floor, books: Books) -> None:
    """Return when the account has been looked at twice more."""
    for _ in range(2):
        books.cash += Decimal("0.01")

        async def is_read() -> bool:
            (row,) = await floor.desk.rows("SELECT broker_cash FROM balances")
            return bool(row["broker_cash"] == books.cash)

        await eventually(is_read)


@pytest.mark.parametrize("keeper", ["the same", "the next"])
async def test_a_look_that_could_not_compare_what_differed_lifts_no_block(
    floor: Floor, books: Books, keeper: str
) -> None:
    order_id = (await floor.desk.place()).order_id
    books.positions = [held(10)]
    async with AsyncExitStack() as running:
        await running.enter_async_context(reconciling(floor, live=True, rhythm=EAGER))
        await until_blocked_by(floor, "MISMATCH")
        if keeper == "the next":
            await running.aclose()
        await floor.desk.execute("UPDATE orders SET status = 'UNKNOWN' WHERE id = :id", id=order_id)
        if keeper == "the next":
            await running.enter_async_context(reconciling(floor, live=True, rhythm=EAGER))
        await looked_again(floor, books)
        await until_blocked_by(floor, "MISMATCH")
        (alert,) = await floor.desk.rows("SELECT closed_at FROM alerts WHERE kind = 'POSITION_MISMATCH'")
        assert alert["closed_at"] is None
        # Seen with nothing in motion and equal, it is over.
        books.positions = []
        await floor.desk.execute("UPDATE orders SET status = 'REJECTED' WHERE id = :id", id=order_id)
        await until_blocked_by(floor)
    (alert,) = await floor.desk.rows("SELECT closed_at FROM alerts WHERE kind = 'POSITION_MISMATCH'")
    assert alert["closed_at"] is not None


async def test_a_difference_that_changes_keeps_its_block_until_the_new_one_counts(floor: Floor, books: Books) -> None:
    books.positions = [held(10)]
    made = await a_reconciliation(floor, live=True)
    rhythm = replace(EAGER, settle_within_s=0.0)
    async with reconciling(floor, live=True, rhythm=rhythm, reconciliation=made):
        await until_blocked_by(floor, "MISMATCH")
        made._suspicions = Suspicions(settles_after_s=3600.0, explained_for_s=3600.0)
        books.positions = [held(20)]
        await looked_again(floor, books)
        await until_blocked_by(floor, "MISMATCH")


async def test_an_order_that_the_book_does_not_list_keeps_its_block_between_the_readings_of_the_book(
    floor: Floor, books: Books
) -> None:
    order_id = await floor.desk.placed("no-such-order")
    await floor.desk.execute("UPDATE orders SET saved_at = saved_at - interval '1 minute' WHERE id = :id", id=order_id)
    async with reconciling(floor, live=True, rhythm=EAGER):
        await until_blocked_by(floor, "MISMATCH")
        await looked_again(floor, books)
        await until_blocked_by(floor, "MISMATCH")
        floor.broker.book = OrderBook([replace(a_row("no-such-order", filled=0), state=BrokerOrderState.WORKING)])
        await until_blocked_by(floor)


@pytest.mark.parametrize(("ended_s", "differences"), [(60, 1), (1, 0)])
async def test_an_order_that_is_over_here_and_rests_at_the_broker_is_a_difference(
    floor: Floor, books: Books, ended_s: int, differences: int
) -> None:
    """It can still trade, and nobody here can cancel it any more. A book may be late in showing an end, though."""
    order_id = await floor.desk.placed("B1")
    floor.broker.book = OrderBook([replace(a_row("B1", filled=0), state=BrokerOrderState.WORKING)])
    await floor.desk.execute(
        "UPDATE orders SET status = 'CANCELLED', done_at = clock_timestamp() - make_interval(secs => :ended_s) "
        "WHERE id = :id",
        id=order_id,
        ended_s=ended_s,
    )
    look = await (await a_reconciliation(floor)).look(with_orders=True)
    told = [(one.kind, one.subject, one.ours, one.theirs) for one in look.differences]
    assert told == [(DifferenceKind.ORDER, f"order {order_id}", "CANCELLED", "open")] * differences
    # What the end of the day derived is no difference: the book of the day before may stay as it was.
    await floor.desk.execute(
        "INSERT INTO order_events (order_id, event, status, actor) VALUES (:id, 'DAY_ENDED', 'EXPIRED', 'keeper')",
        id=order_id,
    )
    assert (await (await a_reconciliation(floor)).look(with_orders=True)).differences == ()
