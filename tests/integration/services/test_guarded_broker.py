"""The guard between a claimed command and its broker: permits that age, probes, and what the breaker is told."""

import asyncio
from datetime import UTC, datetime

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

from app.brokers.breaker import BreakerChange, Health
from app.brokers.governor import NotNowReason, Spend, Wait
from app.brokers.guarded import LOOK_AGAIN_S, NotNow, Permit
from app.brokers.sending import RENEWALS_MAX
from app.core.instruments import Exchange
from app.core.orders import Urgency
from app.core.outcomes import Accepted, Ambiguous, NotSent, PlaceOutcome, Refused, Throttled
from app.core.ports import PlaceRequest
from tests.harness.angelone import place_request
from tests.harness.queue import eventually
from tests.integration.services.conftest import Floor

ORDINARY = Spend(Exchange.NSE, urgent=False)
URGENT = Spend(Exchange.NSE, urgent=True)
FOREVER = float("inf")


async def permit(floor: Floor, spend: Spend = ORDINARY) -> Permit:
    answer = await floor.guarded.permit(spend)
    assert isinstance(answer, Permit)
    return answer


async def not_now(floor: Floor, spend: Spend = ORDINARY) -> NotNow:
    answer = await floor.guarded.permit(spend)
    assert isinstance(answer, NotNow)
    return answer


async def place(floor: Floor) -> PlaceOutcome:
    return await floor.guarded.place(await permit(floor), place_request(), deadline=FOREVER)


async def alerts(floor: Floor) -> list[tuple[str, int, bool]]:
    """Return subject, count and whether it is open of each alert about a breaker."""
    rows = await floor.desk.rows("SELECT subject, count, closed_at IS NULL AS open FROM alerts ORDER BY opened_at")
    return [(row["subject"], row["count"], row["open"]) for row in rows]


async def test_why_not_now_is_told_in_a_word_that_callers_can_act_on(floor: Floor) -> None:
    floor.permits.waits_s = [
        0.25,
        Wait(reason=NotNowReason.BREAKER_OPEN, seconds=3.0),
        RedisConnectionError("gone"),
        TimeoutError(),
    ]
    reasons = [await not_now(floor) for _ in range(4)]
    assert [answer.reason.value for answer in reasons] == ["over_budget", "breaker_open", "redis_away", "redis_away"]
    assert reasons[0].retry_after_s == 0.25
    assert 3.0 <= reasons[1].retry_after_s < 3.1
    floor.tokens.stored = None
    await floor.guarded.report_dead()
    assert (await not_now(floor)).reason.value == "logged_out"


async def test_a_long_open_breaker_is_looked_at_again_soon_for_an_urgent_probe_may_close_it(floor: Floor) -> None:
    floor.permits.waits_s = [Wait(reason=NotNowReason.BREAKER_OPEN, seconds=60)]
    assert (await not_now(floor)).retry_after_s == pytest.approx(LOOK_AGAIN_S, abs=0.1)


async def test_while_logged_out_thousands_ask_the_store_once_and_come_back_spread(floor: Floor) -> None:
    floor.tokens.stored, kept = None, floor.tokens.stored
    waits = [(await not_now(floor)).retry_after_s for _ in range(1000)]
    assert waits[0] < 0.5
    assert waits == sorted(waits)
    assert waits[-1] > 15
    assert (await not_now(floor, URGENT)).retry_after_s < 0.5
    assert floor.tokens.asked <= 3
    floor.tokens.stored = kept

    async def logged_in() -> bool:
        return isinstance(await floor.guarded.permit(ORDINARY), Permit)

    await eventually(logged_in)
    floor.tokens.stored = None
    await floor.guarded.report_dead()
    assert (await not_now(floor)).retry_after_s < 0.5


async def test_a_write_that_waits_too_long_for_its_turn_takes_no_place_of_another(floor: Floor) -> None:
    old = await permit(floor)
    aged = Permit(tokens=old.tokens, spend=old.spend, granted=old.granted, asked_at=old.asked_at - 1)
    assert isinstance(await floor.guarded.place(aged, place_request(), deadline=FOREVER), Accepted)
    assert floor.permits.renewed == ["permit-1"]


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (0.3, "permit too old: over_budget"),
        (Wait(reason=NotNowReason.BREAKER_OPEN, seconds=1), "permit too old: breaker_open"),
        (RedisConnectionError("gone"), "no permit: ConnectionError"),
    ],
)
async def test_an_old_permit_that_is_not_renewed_sends_nothing(
    floor: Floor, trouble: float | Wait | Exception, reason: str
) -> None:
    old = await permit(floor)
    aged = Permit(tokens=old.tokens, spend=old.spend, granted=old.granted, asked_at=old.asked_at - 1)
    floor.permits.waits_s = [trouble]
    assert await floor.guarded.place(aged, place_request(), deadline=FOREVER) == NotSent(reason=reason)
    assert floor.broker.received == []
    assert floor.permits.reported == []


async def test_a_process_too_slow_for_any_permit_gives_up(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.brokers.sending.PERMIT_VALID_S", 0.0)
    outcome = await place(floor)
    assert outcome == NotSent(reason="every permit was too old when it came")
    assert len(floor.permits.renewed) == RENEWALS_MAX
    assert floor.broker.received == []


async def test_the_permit_of_an_unanswered_write_is_kept_until_the_answer(floor: Floor) -> None:
    async def slow(request: PlaceRequest | None) -> PlaceOutcome:
        await eventually(lambda: len(floor.permits.kept) >= 2)
        return Accepted(broker_order_id="B1")

    floor.broker.script = [slow]
    assert isinstance(await place(floor), Accepted)
    assert set(floor.permits.kept) == {"permit-1"}
    kept = len(floor.permits.kept)
    await place(floor)
    assert len(floor.permits.kept) == kept


async def test_a_command_that_needs_no_sending_gives_its_permit_back(floor: Floor) -> None:
    answer = await floor.desk.place()
    await floor.run(answer)
    assert floor.permits.returned == []
    await floor.run(answer)
    assert floor.permits.returned == ["permit-2"]


async def test_a_command_keeps_its_name_and_rank_at_the_budget(floor: Floor) -> None:
    answer = await floor.desk.place()
    command = await floor.desk.command(answer.order_id)
    await floor.executor.run(
        command_id=command["id"],
        account_id=command["account_id"],
        urgency=Urgency.STOP_LOSS,
        exchange=Exchange.BSE,
        rung_at=datetime.now(UTC),
    )
    assert floor.permits.granted == [
        Spend(Exchange.BSE, urgent=True, command_id=command["id"], band=Urgency.STOP_LOSS.band)
    ]


async def test_the_breaker_hears_of_bad_ends_and_of_good_ones_only_when_the_broker_is_shaky(floor: Floor) -> None:
    floor.broker.script = [
        Accepted(broker_order_id="1"),
        Refused(code="AB1", message="no"),
        Throttled(reason="403"),
        NotSent(reason="deadline passed"),
        Ambiguous(reason="HTTP 502"),
        NotSent(reason="ConnectError", unreachable=True),
    ]
    for _ in range(6):
        await place(floor)
    assert floor.permits.reported == [Health.BAD, Health.BAD]
    floor.permits.shaky = True
    await place(floor)
    assert floor.permits.reported[2:] == [Health.GOOD]


async def test_an_adapter_that_raises_counts_as_a_bad_end(floor: Floor) -> None:
    floor.broker.script = [ValueError("what is this?")]
    with pytest.raises(ValueError, match="what is this"):
        await place(floor)
    assert floor.permits.reported == [Health.BAD]


async def test_an_opened_breaker_is_one_alert_until_it_closes(floor: Floor) -> None:
    floor.broker.script = [Ambiguous(reason="x")] * 2
    floor.permits.change = BreakerChange.OPENED
    with capture_logs() as logs:
        await place(floor)
    assert [entry["change"] for entry in logs if entry["event"] == "broker.breaker.changed"] == ["OPENED"]
    assert await alerts(floor) == [("paper", 1, True)]
    floor.permits.change = BreakerChange.CLOSED
    await place(floor)
    assert await alerts(floor) == [("paper", 1, False)]


async def test_a_breaker_that_others_closed_or_a_wipe_forgot_closes_its_alert_too(floor: Floor) -> None:
    floor.broker.script = [Ambiguous(reason="x")]
    floor.permits.change = BreakerChange.OPENED
    await place(floor)
    floor.permits.waits_s = [Wait(reason=NotNowReason.BREAKER_OPEN, seconds=5)]
    await not_now(floor)
    assert await alerts(floor) == [("paper", 1, True)]
    await permit(floor)
    assert await alerts(floor) == [("paper", 1, False)]


async def test_an_outcome_is_told_though_neither_breaker_nor_alert_can_be_reached(floor: Floor) -> None:
    async def lost(*_: object) -> BreakerChange:
        raise RedisConnectionError("gone")

    floor.permits.report = lost  # type: ignore[method-assign]
    floor.broker.script = [Ambiguous(reason="x")] * 2
    assert await place(floor) == Ambiguous(reason="x")

    async def opened(*_: object) -> BreakerChange:
        return BreakerChange.OPENED

    async def no_database(_change: BreakerChange) -> None:
        raise OSError("the database is away")

    floor.permits.report = opened  # type: ignore[method-assign]
    floor.guarded._on_breaker = no_database
    assert await place(floor) == Ambiguous(reason="x")


async def test_a_permit_that_cannot_be_given_back_or_kept_harms_nothing(floor: Floor) -> None:
    async def lost(*_: object) -> None:
        tried.set()
        raise RedisConnectionError("gone")

    async def slow(request: PlaceRequest | None) -> PlaceOutcome:
        await tried.wait()
        return Accepted(broker_order_id="B1")

    tried = asyncio.Event()
    floor.permits.give_back = lost  # type: ignore[method-assign]
    await floor.guarded.give_back(await permit(floor))
    tried.clear()
    floor.permits.keep = lost  # type: ignore[method-assign]
    floor.broker.script = [slow]
    assert isinstance(await place(floor), Accepted)
