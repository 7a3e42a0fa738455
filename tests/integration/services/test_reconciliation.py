"""Comparing an account over a scripted broker: what real accounts have of their own, and what explains a difference."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import cast

import pytest

from app.core.accounts import Account, AccountMode
from app.core.errors import BrokerUnreadable, SessionDead
from app.core.instruments import Exchange
from app.core.orders import Product, Side
from app.core.ports import BrokerOrder, BrokerOrderState, BrokerPosition, BrokerSession, Funds, OrderBook
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
async def reconciling(floor: Floor, *, live: bool, rhythm: Rhythm) -> AsyncIterator[None]:
    made = AccountReconciler(
        await the_account(floor, live=live),
        await a_reconciliation(floor, live=live),
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
