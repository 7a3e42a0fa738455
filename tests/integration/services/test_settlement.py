"""Settling by a scripted book on a real database: when a read proves something, and when it proves nothing."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.core.accounts import BlockReason
from app.core.attribution import CLOCK_SKEW
from app.core.commands import CommandState
from app.core.errors import BrokerUnreadable, SessionDead
from app.core.instruments import Exchange
from app.core.orders import OrderStatus, OrderType, Product, Side
from app.core.ports import BrokerOrder, BrokerOrderState, BrokerSession, OrderBook, StrangeRow
from app.core.transitions import OrderEvent
from app.keeper.settler import Settler
from app.repositories.commands import Claim, Finding
from app.services.order_updates import OrderUpdates
from app.services.settlement import Settlement
from tests.integration.services.conftest import Floor, a_session
from tests.integration.services.test_order_updates import a_row as a_plain_row

HORIZON_S = 14.0
WORKING = BrokerOrderState.WORKING


def a_row(broker_order_id: str, tag: str | None = None, **changes: Any) -> BrokerOrder:  # noqa: ANN401
    values: dict[str, Any] = {
        "token": "11915",
        "order_type": OrderType.LIMIT,
        "product": Product.MIS,
        "price": Decimal("182.65"),
        "updated_at": datetime.now(UTC),
    }
    state = changes.pop("state", WORKING)
    return a_plain_row(broker_order_id, state, tag, **(values | changes))


class Reader:
    """Reads a scripted book at moments of the test's choosing, as a watch does."""

    def __init__(self, floor: Floor, settler: Settler, updates: OrderUpdates) -> None:
        self.floor = floor
        self.settler = settler
        self.updates = updates
        self.details: dict[str, BrokerOrder | Exception] = {}
        self.asked: list[str] = []
        floor.broker.order_details = self._details  # type: ignore[attr-defined]

    async def _details(self, _session: BrokerSession, unique_id: str) -> BrokerOrder:
        self.asked.append(unique_id)
        found = self.details[unique_id]
        if isinstance(found, Exception):
            raise found
        return found

    async def read(self, *rows: BrokerOrder, at: timedelta = timedelta(), strange: tuple[StrangeRow, ...] = ()) -> int:
        """Read a book; `at` says how much later than now by the database's clock the read is said to have begun."""
        book = OrderBook(rows, strange=strange)
        before = await self.settler.unsettled()
        account = await self.floor.desk.account_named()
        lease = await self.floor.desk.lease()
        applied = await self.updates.apply(account.id, book, lease)
        return await self.settler.settle(
            self.floor.guarded, a_session(), book, applied, before._replace(now=before.now + at)
        )

    async def read_twice(self, *rows: BrokerOrder, **how: Any) -> None:  # noqa: ANN401
        """Read the same book twice, later than anything can arrive, a second apart."""
        for later in (HORIZON_S + 1, HORIZON_S + 2):
            await self.read(*rows, at=timedelta(seconds=later), **how)


@pytest.fixture
async def reader(floor: Floor) -> Reader:
    updates = OrderUpdates(uow=floor.desk.uow)
    settler = Settler(
        await floor.desk.account_named(),
        settlement=Settlement(uow=floor.desk.uow, doorbell=floor.desk.doorbell),
        updates=updates,
        lease=await floor.desk.lease(),
        clock=floor.desk.base.clock,
        horizon_s=HORIZON_S,
    )
    return Reader(floor, settler, updates)


async def unknown(reader: Reader, **changes: Any) -> UUID:  # noqa: ANN401
    """Store an order whose claim has just ended unknown."""
    terms: dict[str, Any] = {"order_type": OrderType.LIMIT, "price": Decimal("182.65")}
    answer = await reader.floor.desk.place(**(terms | changes))
    assert answer.order_id is not None
    await reader.floor.desk.execute(
        "UPDATE orders SET status = 'UNKNOWN', claimed_at = clock_timestamp() WHERE id = :id", id=answer.order_id
    )
    await reader.floor.desk.execute(
        "UPDATE order_commands SET state = 'UNKNOWN', attempt = 1, send_by = clock_timestamp() WHERE order_id = :id",
        id=answer.order_id,
    )
    reader.floor.desk.doorbell.rings.clear()
    return answer.order_id


async def alerts(reader: Reader, kind: str) -> list[str]:
    rows = await reader.floor.desk.rows(
        "SELECT subject FROM alerts WHERE kind = :kind AND closed_at IS NULL ORDER BY subject", kind=kind
    )
    return [row["subject"] for row in rows]


async def test_two_late_reads_that_do_not_show_it_prove_an_order_absent_and_ring_for_it(reader: Reader) -> None:
    order_id = await unknown(reader)
    await reader.read(at=timedelta(seconds=HORIZON_S + 1))
    assert await reader.floor.desk.status(order_id) == "UNKNOWN"
    await reader.read(at=timedelta(seconds=HORIZON_S + 1.5))
    assert await reader.floor.desk.status(order_id) == "UNKNOWN", "half a second later is the same moment"
    assert await reader.read(at=timedelta(seconds=HORIZON_S + 2)) == 1
    assert await reader.floor.desk.status(order_id) == "PENDING"
    command = await reader.floor.desk.command(order_id)
    assert (command["state"], command["attempt"]) == ("PENDING", 1)
    assert [ring.command_id for ring in reader.floor.desk.doorbell.rings] == [command["id"]]
    assert (await reader.floor.desk.events(order_id))[-1] == "PROVEN_ABSENT"


async def test_an_answer_that_comes_after_a_lying_book_keeps_the_order_from_being_sent_twice(reader: Reader) -> None:
    """Its worker was stopped with the answer in its hands: that is first-hand, whatever the book did not show."""
    order_id = await unknown(reader)
    await reader.read_twice()
    assert await reader.floor.desk.status(order_id) == "PENDING"
    command = await reader.floor.desk.command(order_id)
    order = await reader.floor.desk.order(order_id)
    terms = order.intent
    claim = Claim(
        command["id"], order.id, 1, Exchange.NSE, None, None, terms.side, terms.quantity, terms.order_type,
        terms.product, terms.validity, terms.price, None, order.tag,
    )  # fmt: skip
    taken = Finding(event=OrderEvent.ACCEPTED, command_state=CommandState.DONE, broker_order_id="B1")
    async with reader.floor.desk.uow.statement() as tx:
        assert await tx.commands.record(claim._replace(attempt=2), taken, worker="w1") is None
        assert await tx.commands.record(claim, taken, worker="w1") == (OrderStatus.PLACED, False)
    await reader.floor.executor.run(command_id=command["id"], account_id=command["account_id"], rung_at=None)
    assert reader.floor.broker.received == []
    assert (await reader.floor.desk.command(order_id))["state"] == "DONE"


async def test_a_parked_placement_ends_where_its_order_turns_up_at_the_broker(reader: Reader) -> None:
    """Else closing it later would take the order's other commands with it."""
    answer = await reader.floor.desk.place(order_type=OrderType.LIMIT, price=Decimal("182.65"))
    await reader.floor.desk.execute("UPDATE order_commands SET state = 'PARKED', reason = 'too_many_attempts'")
    await reader.read(a_row("B1", (await reader.floor.desk.order(answer.order_id)).tag))
    assert await reader.floor.state(answer) == ("PLACED", "DONE", 0)


@pytest.mark.parametrize(
    ("rows", "how"),
    [
        ([], {"strange": (StrangeRow(broker_order_id="S1", problem="exchange NYSE"),)}),
        ([a_row("B1", price=None, product=None)], {}),
        ([a_row("B1", updated_at=None)], {}),
        ([a_row("B1"), a_row("B2")], {}),
    ],
)
async def test_a_read_with_a_row_that_could_be_it_proves_nothing(
    reader: Reader, rows: list[BrokerOrder], how: dict[str, Any]
) -> None:
    order_id = await unknown(reader)
    reader.details = {f"u-{row.broker_order_id}": BrokerUnreadable("details are away") for row in rows}
    await reader.read_twice(*rows, **how)
    assert await reader.floor.desk.status(order_id) == "UNKNOWN"
    assert await reader.floor.desk.count("orders") == 1


@pytest.mark.parametrize(
    "row",
    [
        a_row("B1", "BYHAND"),
        a_row("B1", quantity=11),
        a_row("B1", side=Side.SELL),
        a_row("B1", updated_at=datetime(2019, 1, 1, 6, 30, tzinfo=UTC) - CLOCK_SKEW - timedelta(seconds=1)),
    ],
)
async def test_a_row_that_cannot_be_it_does_not_keep_an_order_from_being_absent(
    reader: Reader, row: BrokerOrder
) -> None:
    order_id = await unknown(reader)
    reader.details["u-B1"] = row
    await reader.read_twice(row)
    assert await reader.floor.desk.status(order_id) == "PENDING"


async def test_reads_that_began_too_early_or_on_another_day_prove_nothing(reader: Reader) -> None:
    order_id = await unknown(reader)
    for seconds in (1.0, 5.0, HORIZON_S - 0.5):
        await reader.read(at=timedelta(seconds=seconds))
    assert await reader.floor.desk.status(order_id) == "UNKNOWN"
    await reader.floor.desk.execute("UPDATE orders SET claimed_at = claimed_at - interval '1 day'")
    await reader.read_twice()
    assert await reader.floor.desk.status(order_id) == "UNKNOWN"
    await reader.floor.desk.execute("UPDATE orders SET claimed_at = claimed_at + interval '1 day'")
    await reader.floor.desk.execute("UPDATE market_clock SET trading_day = trading_day + 1")
    await reader.read_twice()
    assert await reader.floor.desk.status(order_id) == "UNKNOWN", "the market's books are of another day"


async def test_a_row_in_between_makes_the_count_of_reads_begin_anew(reader: Reader) -> None:
    order_id = await unknown(reader)
    reader.details["u-B1"] = BrokerUnreadable("details are away")
    await reader.read(at=timedelta(seconds=15))
    await reader.read(a_row("B1"), at=timedelta(seconds=16))
    await reader.read(at=timedelta(seconds=17))
    assert await reader.floor.desk.status(order_id) == "UNKNOWN"
    await reader.read(at=timedelta(seconds=18))
    assert await reader.floor.desk.status(order_id) == "PENDING"


async def test_a_row_is_adopted_only_once_its_details_are_known_to_carry_no_tag_either(reader: Reader) -> None:
    order_id = await unknown(reader)
    reader.details["u-B1"] = BrokerUnreadable("details are away")
    await reader.read(a_row("B1"))
    assert await reader.floor.desk.status(order_id) == "UNKNOWN"
    reader.details["u-B1"] = a_row("B1")
    assert await reader.read(a_row("B1")) == 1
    order = await reader.floor.desk.order(order_id)
    assert (order.status.value, order.broker_order_id) == ("PLACED", "B1")
    await reader.read(a_row("B1"))
    assert reader.asked == ["u-B1", "u-B1"], "asked again only because the first time failed"


async def test_a_read_that_began_before_an_order_was_claimed_cannot_have_found_it(reader: Reader) -> None:
    """Else a reader that was stopped with a book in its hands would take a stranger's row for a younger order's."""
    order_id = await unknown(reader)
    reader.details["u-B1"] = a_row("B1")
    await reader.read(a_row("B1"), at=timedelta(seconds=-1))
    assert await reader.floor.desk.status(order_id) == "UNKNOWN"
    assert await reader.read(a_row("B1")) == 1


async def test_nothing_is_adopted_where_an_order_of_ours_shows_that_details_tell_tags(reader: Reader) -> None:
    """A stranger's order that happens to have the same terms stays a stranger's."""
    ours = await reader.floor.desk.placed("B9", order_type=OrderType.LIMIT, price=Decimal("182.65"))
    order_id = await unknown(reader)
    reader.details = {"u-B1": a_row("B1"), "u-B9": a_row("B9", (await reader.floor.desk.order(ours)).tag)}
    for _ in range(2):
        await reader.read(a_row("B9"), a_row("B1"))
    assert await reader.floor.desk.status(order_id) == "UNKNOWN"
    assert reader.asked == ["u-B1", "u-B9"], "once is enough"


async def test_an_order_of_ours_is_asked_about_until_its_details_can_be_read(reader: Reader) -> None:
    await reader.floor.desk.placed("B9", order_type=OrderType.LIMIT, price=Decimal("182.65"))
    order_id = await unknown(reader)
    reader.details = {"u-B1": a_row("B1"), "u-B9": BrokerUnreadable("details are away")}
    await reader.read(a_row("B9"), a_row("B1"))
    assert await reader.floor.desk.status(order_id) == "UNKNOWN"
    reader.details["u-B9"] = a_row("B9")
    assert await reader.read(a_row("B9"), a_row("B1")) == 1
    assert (await reader.floor.desk.order(order_id)).broker_order_id == "B1"


async def test_details_that_stay_unreadable_keep_no_other_order_waiting(reader: Reader) -> None:
    reader.details = {"u-B1": BrokerUnreadable("always"), "u-B2": a_row("B2")}
    for _ in range(2):
        await reader.read(a_row("B1"), a_row("B2"))
    assert reader.asked == ["u-B1", "u-B2", "u-B1"]


async def test_the_tag_of_the_details_binds_and_shows_that_tags_are_told(reader: Reader) -> None:
    order_id = await unknown(reader)
    tag = (await reader.floor.desk.order(order_id)).tag
    other = await unknown(reader)
    reader.details = {"u-B1": a_row("B1", tag), "u-B2": a_row("B2")}
    await reader.read(a_row("B1"), a_row("B2"))
    assert (await reader.floor.desk.order(order_id)).broker_order_id == "B1"
    assert await reader.floor.desk.status(other) == "UNKNOWN", "a broker that tells tags would have told its tag"


async def test_a_session_that_is_over_is_said_so(reader: Reader) -> None:
    await unknown(reader)
    reader.details["u-B1"] = SessionDead("over")
    with pytest.raises(SessionDead):
        await reader.read(a_row("B1"))


async def test_only_a_few_details_are_asked_for_after_one_read(reader: Reader) -> None:
    rows = [a_row(f"B{number}", quantity=number) for number in range(1, 8)]
    reader.details = {f"u-B{number}": a_row(f"B{number}") for number in range(1, 8)}
    await reader.read(*rows)
    assert len(reader.asked) == 5
    assert await reader.floor.desk.count("orders") == 5
    await reader.read(*rows)
    assert await reader.floor.desk.count("orders") == 7


async def test_what_cannot_be_taken_in_is_told_once_and_no_more_when_it_is_gone(reader: Reader) -> None:
    strange = (StrangeRow(broker_order_id="S1", problem="exchange NYSE"),)
    rows = [
        a_row("B1", "BYHAND", trading_symbol="NOBODYS", token="1"),
        a_row("B2", "BYHAND", product=None),
        a_row("B3", "BYHAND", quantity=0),
    ]
    for _ in range(3):
        await reader.read(*rows, strange=strange)
    assert await alerts(reader, "ROW_UNREADABLE") == ["paper/B1", "paper/B2", "paper/B3", "paper/S1"]
    counts = await reader.floor.desk.rows("SELECT DISTINCT count FROM alerts")
    assert [row["count"] for row in counts] == [1]
    assert await reader.floor.desk.count("orders") == 0
    await reader.read(rows[0])
    assert await alerts(reader, "ROW_UNREADABLE") == ["paper/B1"]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (WORKING, "PLACED"),
        (BrokerOrderState.COMPLETE, "PLACED"),
        (BrokerOrderState.REJECTED, "REJECTED"),
        (BrokerOrderState.CANCELLED, "CANCELLED"),
        (BrokerOrderState.UNRECOGNISED, "PLACED"),
    ],
)
async def test_somebody_elses_order_is_stored_as_the_book_has_it(
    reader: Reader, state: BrokerOrderState, status: str
) -> None:
    row = a_row("B1", "BYHAND", state=state, trading_symbol="YESBANK-EQ", token=None, order_type=None)
    assert await reader.read(row) == 1
    assert await reader.read(row) == 0
    (order,) = await reader.floor.desk.rows("SELECT * FROM orders")
    assert (order["origin"], order["status"], order["order_type"]) == ("EXTERNAL", status, "LIMIT")
    assert (order["done_at"] is not None) is (status in ("REJECTED", "CANCELLED"))
    assert await alerts(reader, "EXTERNAL_ORDER") == ["paper/B1"]


async def test_a_second_broker_order_under_one_tag_is_an_orphan(reader: Reader) -> None:
    order_id = await reader.floor.desk.placed("B1")
    tag = (await reader.floor.desk.order(order_id)).tag
    await reader.read(a_row("B1", tag), a_row("B2", tag))
    rows = await reader.floor.desk.rows("SELECT origin, tag FROM orders ORDER BY broker_order_id")
    assert [tuple(row.values()) for row in rows] == [("SAUDA", tag), ("ORPHAN", "X:B2")]
    async with reader.floor.desk.uow.statement() as tx:
        (block,) = await tx.blocks.all()
    assert block.reason is BlockReason.ORPHAN


async def test_an_order_of_ours_in_an_unknown_instrument_blocks_even_though_it_cannot_be_stored(
    reader: Reader,
) -> None:
    await reader.read(a_row("B1", "SD" + "A" * 16, trading_symbol="NOBODYS", token="1", exchange=Exchange.BSE))
    assert await reader.floor.desk.count("orders") == 0
    assert await reader.floor.desk.count("account_blocks") == 1
    assert await alerts(reader, "ORPHAN_ORDER") == ["paper/B1"]


async def an_unknown_change(reader: Reader) -> UUID:
    order_id = await reader.floor.desk.placed("B1", order_type=OrderType.LIMIT, price=Decimal("182.65"))
    await reader.floor.desk.execute(
        "INSERT INTO order_commands (id, order_id, account_id, kind, state, urgency, band, attempt, ring_after, "
        "send_by, quantity, order_type, price) SELECT gen_random_uuid(), id, account_id, 'MODIFY', 'UNKNOWN', "
        "'NORMAL', 0, 1, now(), clock_timestamp(), 20, 'LIMIT', 181 FROM orders WHERE id = :id",
        id=order_id,
    )
    return order_id


@pytest.mark.parametrize(
    ("row", "later_s", "terms", "state"),
    [
        ({"quantity": 20, "price": Decimal(181)}, 0, (20, Decimal(181)), "DONE"),
        ({}, 1, (10, Decimal("182.65")), "UNKNOWN"),
        ({}, HORIZON_S + 1, (10, Decimal("182.65")), "DONE"),
        ({"price": Decimal(181)}, 1, (10, Decimal("182.65")), "UNKNOWN"),
        ({"price": Decimal(181)}, HORIZON_S + 1, (10, Decimal("182.65")), "DONE"),
    ],
)
async def test_a_change_is_settled_by_the_terms_that_the_book_shows(
    reader: Reader, row: dict[str, Any], later_s: float, terms: tuple[int, Decimal], state: str
) -> None:
    order_id = await an_unknown_change(reader)
    await reader.read(a_row("B2", "BYHAND"), at=timedelta(seconds=HORIZON_S + 1))  # without its row nothing is said
    await reader.read(a_row("B1", **row), at=timedelta(seconds=later_s))
    order = await reader.floor.desk.order(order_id)
    assert (order.intent.quantity, order.intent.price) == terms
    (command,) = await reader.floor.desk.rows("SELECT state FROM order_commands WHERE kind = 'MODIFY'")
    assert command["state"] == state


async def test_terms_that_are_neither_the_old_nor_the_new_are_taken_over_once_no_change_can_arrive(
    reader: Reader,
) -> None:
    """Else the order would show terms that it does not have for as long as it rests, and take no other change."""
    order_id = await an_unknown_change(reader)
    for later in (1, 2, 3, 4):
        await reader.read(a_row("B1", price=Decimal(181)), at=timedelta(seconds=HORIZON_S + later))
    order = await reader.floor.desk.order(order_id)
    assert (order.intent.quantity, order.intent.price) == (10, Decimal(181))
    assert (await reader.floor.desk.modify(order_id, price=Decimal(180))).result == "modify_sent"


async def test_terms_changed_at_the_broker_are_taken_over_when_two_reads_show_them(reader: Reader) -> None:
    order_id = await reader.floor.desk.placed("B1", order_type=OrderType.LIMIT, price=Decimal("182.65"))
    changed = a_row("B1", price=Decimal(181), quantity=12)
    assert await reader.read(changed) == 0
    assert await reader.read(changed, at=timedelta(seconds=0.2)) == 0
    assert await reader.read(changed, at=timedelta(seconds=2)) == 1
    order = await reader.floor.desk.order(order_id)
    assert (order.intent.price, order.intent.quantity) == (Decimal(181), 12)
    assert await reader.read(changed, at=timedelta(seconds=4)) == 0


async def test_a_book_that_is_late_does_not_take_back_a_change_of_ours(reader: Reader) -> None:
    order_id = await reader.floor.desk.placed("B1", order_type=OrderType.LIMIT, price=Decimal("182.65"))
    await reader.floor.desk.execute(
        "INSERT INTO order_events (order_id, event, status, actor) VALUES (:id, 'MODIFIED', 'PLACED', 'w1')",
        id=order_id,
    )
    for later in (0, 2, 3):
        await reader.read(a_row("B1", price=Decimal(181)), at=timedelta(seconds=later))
    assert (await reader.floor.desk.order(order_id)).intent.price == Decimal("182.65")
