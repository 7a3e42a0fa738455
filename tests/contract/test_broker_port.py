"""What every broker behind `BrokerClient` must do. A card is skipped only where the broker's record says it cannot."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import count
from time import monotonic

import pytest

from app.brokers.base import AccountCredentials, BrokerClient, CandleInterval
from app.brokers.registry import build_broker
from app.core.accounts import AccountMode
from app.core.errors import BrokerUnreadable, SessionDead
from app.core.instruments import Exchange
from app.core.orders import OrderType, Product, Side
from app.core.outcomes import Accepted, NotSent, Refused
from app.core.ports import BrokerOrderState, BrokerSession, PlaceRequest
from app.core.tags import order_tag
from app.infra.clock import SystemClock
from tests.harness.angelone import place_request
from tests.harness.exchange import ExchangeProcess, PaperClient

SYMBOL, TOKEN = "YESBANK-EQ", "11915"
LAST = Decimal("180.50")

_numbers = count(1)


@dataclass
class Desk:
    """A logged-in broker of its own account, and how its market is moved."""

    broker: BrokerClient
    session: BrokerSession
    client_code: str
    print_price: Callable[[str], None]
    tags: Iterator[str] = field(default_factory=lambda: (order_tag(f"contract-{n}") for n in count()))

    def request(
        self,
        order_type: OrderType = OrderType.LIMIT,
        *,
        side: Side = Side.BUY,
        quantity: int = 10,
        price: Decimal | None = Decimal("170.00"),
    ) -> PlaceRequest:
        return place_request(
            side=side,
            quantity=quantity,
            order_type=order_type,
            price=price,
            trading_symbol=SYMBOL,
            token=TOKEN,
            tag=next(self.tags),
        )

    async def place(self, request: PlaceRequest) -> Accepted:
        outcome = await self.broker.place(self.session, request, deadline=soon())
        assert isinstance(outcome, Accepted), outcome
        return outcome


def soon() -> float:
    return monotonic() + 10


@pytest.fixture(scope="module")
def exchange() -> Iterator[ExchangeProcess]:
    process = ExchangeProcess()
    yield process
    process.stop()


@pytest.fixture(params=["null", "angelone"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    base_url, client, print_price = "http://127.0.0.1:9", PaperClient(), _no_market
    if request.param == "angelone":
        paper: ExchangeProcess = request.getfixturevalue("exchange")
        client = paper.add_client(PaperClient(client_code=f"P{next(_numbers)}"))
        base_url, print_price = paper.url, paper.print_price
        print_price(str(LAST))
    broker = build_broker(
        request.param,
        mode=AccountMode.PAPER,
        base_url=base_url,
        credentials=AccountCredentials(
            client_code=client.client_code, pin=client.pin, totp_secret=client.totp_secret, api_key=client.api_key
        ),
        clock=SystemClock(),
    )
    yield Desk(broker, await broker.login(), client.client_code, print_price)
    await broker.close()


def _no_market(price: str) -> None:
    """Move nothing: this broker has no market."""


def needs(desk: Desk, capability: str) -> None:
    if not getattr(desk.broker.record.capabilities, capability):
        pytest.skip(f"{desk.broker.record.name} declares no {capability}")


async def test_a_login_gives_a_session_that_outlives_the_moment(desk: Desk) -> None:
    now = SystemClock().now()
    assert now < desk.session.expires_at <= now + timedelta(days=1)
    assert desk.session.client_code == desk.client_code
    assert desk.session.access_token not in repr(desk.session)


async def test_the_profile_is_of_the_account(desk: Desk) -> None:
    assert (await desk.broker.profile(desk.session)).client_code == desk.client_code


async def test_every_placed_order_gets_an_id_of_its_own(desk: Desk) -> None:
    receipts = [await desk.place(desk.request()) for _ in range(3)]
    assert len({receipt.broker_order_id for receipt in receipts}) == 3


async def test_nothing_is_placed_past_the_deadline(desk: Desk) -> None:
    outcome = await desk.broker.place(desk.session, desk.request(), deadline=monotonic() - 0.001)
    assert outcome == NotSent(reason="deadline passed")
    if desk.broker.record.capabilities.books:
        assert await desk.broker.order_book(desk.session) == []


async def test_an_account_that_did_nothing_has_no_trades_and_no_positions(desk: Desk) -> None:
    assert await desk.broker.trade_book(desk.session) == []
    assert await desk.broker.positions(desk.session) == []


async def test_funds_are_rupees(desk: Desk) -> None:
    funds = await desk.broker.funds(desk.session)
    assert isinstance(funds.available, Decimal)
    assert funds.available > 0


async def test_a_refreshed_session_works(desk: Desk) -> None:
    renewed = await desk.broker.refresh(desk.session)
    assert (await desk.broker.profile(renewed)).client_code == desk.client_code


async def test_books_that_are_not_kept_are_never_shown_as_empty(desk: Desk) -> None:
    if desk.broker.record.capabilities.books:
        pytest.skip("this broker keeps books")
    with pytest.raises(BrokerUnreadable):
        await desk.broker.order_book(desk.session)


async def test_a_session_that_is_over_sends_nothing_and_reads_nothing(desk: Desk) -> None:
    needs(desk, "books")
    await desk.broker.logout(desk.session)
    outcome = await desk.broker.place(desk.session, desk.request(), deadline=soon())
    assert isinstance(outcome, NotSent)
    assert outcome.session_dead
    for read in (desk.broker.order_book, desk.broker.trade_book, desk.broker.positions, desk.broker.funds):
        with pytest.raises(SessionDead):
            await read(desk.session)
    await desk.broker.logout(desk.session)


async def test_a_resting_order_stands_in_the_book_and_in_its_details(desk: Desk) -> None:
    needs(desk, "books")
    request = desk.request()
    receipt = await desk.place(request)
    (order,) = await desk.broker.order_book(desk.session)
    assert (order.broker_order_id, order.broker_unique_id) == (receipt.broker_order_id, receipt.broker_unique_id)
    assert (order.tag, order.side, order.quantity, order.filled_quantity) == (request.tag, Side.BUY, 10, 0)
    assert order.state is BrokerOrderState.WORKING
    assert receipt.broker_unique_id is not None
    assert await desk.broker.order_details(desk.session, receipt.broker_unique_id) == order
    with pytest.raises(BrokerUnreadable):
        await desk.broker.order_details(desk.session, "nosuchorder")
    with pytest.raises(BrokerUnreadable):
        await desk.broker.order_details(desk.session, "../getOrderBook")


async def test_a_traded_order_shows_in_trades_positions_and_the_book(desk: Desk) -> None:
    needs(desk, "books")
    receipt = await desk.place(desk.request(OrderType.MARKET, price=None, side=Side.SELL, quantity=7))
    (trade,) = await desk.broker.trade_book(desk.session)
    assert (trade.broker_order_id, trade.side, trade.quantity, trade.price) == (
        receipt.broker_order_id,
        Side.SELL,
        7,
        LAST,
    )
    now = SystemClock().now()
    assert now - timedelta(minutes=1) < trade.traded_at <= now
    (position,) = await desk.broker.positions(desk.session)
    assert (position.token, position.product, position.net_quantity) == (TOKEN, Product.MIS, -7)
    assert position.average_price == LAST
    (order,) = await desk.broker.order_book(desk.session)
    assert (order.state, order.filled_quantity, order.average_price) == (BrokerOrderState.COMPLETE, 7, LAST)


async def test_an_order_that_the_exchange_turns_down_is_accepted_or_refused_and_never_trades(desk: Desk) -> None:
    needs(desk, "books")
    off_tick = desk.request(price=Decimal("170.01"))
    outcome = await desk.broker.place(desk.session, off_tick, deadline=soon())
    assert isinstance(outcome, Accepted | Refused)
    orders = await desk.broker.order_book(desk.session)
    assert [order.state for order in orders] == [BrokerOrderState.REJECTED] * isinstance(outcome, Accepted)
    assert await desk.broker.trade_book(desk.session) == []


async def test_an_unknown_symbol_is_refused_with_the_brokers_code(desk: Desk) -> None:
    needs(desk, "books")
    request = place_request(trading_symbol="NOSUCH-EQ", token="1", tag="SDX")
    outcome = await desk.broker.place(desk.session, request, deadline=soon())
    assert isinstance(outcome, Refused), outcome
    assert outcome.code


async def test_a_resting_order_can_be_changed_and_cancelled_once(desk: Desk) -> None:
    needs(desk, "modify_and_cancel")
    request = desk.request()
    receipt = await desk.place(request)
    order_id = receipt.broker_order_id
    changed = desk.request(quantity=20, price=Decimal("171.00"))
    assert isinstance(await desk.broker.modify(desk.session, order_id, changed, deadline=soon()), Accepted)
    assert isinstance(await desk.broker.cancel(desk.session, order_id, OrderType.LIMIT, deadline=soon()), Accepted)
    if not desk.broker.record.capabilities.books:
        return
    (order,) = await desk.broker.order_book(desk.session)
    assert (order.state, order.quantity, order.tag) == (BrokerOrderState.CANCELLED, 20, request.tag)
    again = await desk.broker.cancel(desk.session, order_id, OrderType.LIMIT, deadline=soon())
    assert isinstance(again, Refused)


async def test_changes_past_the_deadline_do_nothing(desk: Desk) -> None:
    needs(desk, "modify_and_cancel")
    receipt = await desk.place(desk.request())
    order_id, late = receipt.broker_order_id, monotonic() - 0.001
    for outcome in (
        await desk.broker.modify(desk.session, order_id, desk.request(), deadline=late),
        await desk.broker.cancel(desk.session, order_id, OrderType.LIMIT, deadline=late),
    ):
        assert outcome == NotSent(reason="deadline passed")


async def test_the_stream_tells_of_orders_as_they_trade(desk: Desk) -> None:
    needs(desk, "order_stream")
    request = desk.request(price=LAST - 1)
    async with desk.broker.order_updates(desk.session) as updates, asyncio.timeout(10):
        receipt = await desk.place(request)
        await asyncio.to_thread(desk.print_price, str(LAST - 2))
        async for update in updates:
            if update.state is BrokerOrderState.COMPLETE:
                break
    assert (update.broker_order_id, update.tag) == (receipt.broker_order_id, request.tag)
    assert update.filled_quantity == 10
    desk.print_price(str(LAST))


async def test_a_stream_is_not_opened_with_a_dead_session(desk: Desk) -> None:
    needs(desk, "order_stream")
    await desk.broker.logout(desk.session)
    with pytest.raises(SessionDead):
        async with desk.broker.order_updates(desk.session):
            raise AssertionError("the stream must not open")


async def test_prices_quotes_and_candles_tell_the_same_market(desk: Desk) -> None:
    needs(desk, "market_data")
    last = await desk.broker.last_price(desk.session, exchange=Exchange.NSE, trading_symbol=SYMBOL, token=TOKEN)
    (quote,) = await desk.broker.quotes(desk.session, {Exchange.NSE: [TOKEN]})
    now = SystemClock().now()
    candles = await desk.broker.candles(
        desk.session,
        exchange=Exchange.NSE,
        token=TOKEN,
        interval=CandleInterval.ONE_MINUTE,
        start=now - timedelta(minutes=30),
        end=now + timedelta(minutes=1),
    )
    assert last == quote.last_price == candles[-1].close == LAST
    assert candles[-1].start <= now
    with pytest.raises(BrokerUnreadable):
        await desk.broker.quotes(desk.session, {Exchange.NSE: [TOKEN, "404"]})


async def test_closing_twice_is_harmless(desk: Desk) -> None:
    await desk.broker.close()
