"""What a broker answered, or that nothing was written, is kept whatever else fails around it."""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import text

from app.core.outcomes import Accepted, NotSent, PlaceOutcome
from app.core.ports import PlaceRequest
from app.infra.database import is_database_away
from app.services.order_executor import Later
from tests.harness.desk import until_done
from tests.integration.services.conftest import Floor


async def test_an_outcome_is_held_while_somebody_keeps_the_order_locked(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock not had in time is a reason to try again: the broker's answer must not be lost to it."""
    answer = await floor.desk.place()
    engine = floor.desk.uow._engine
    tried = asyncio.Event()

    def and_tell(error: BaseException) -> bool:
        tried.set()
        return is_database_away(error)

    monkeypatch.setattr("app.services.order_executor.is_database_away", and_tell)

    name = engine.url.database
    await floor.desk.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {name} SET lock_timeout = '100ms'")
    await engine.dispose()  # new connections come under the new setting
    async with engine.connect() as other:

        async def lock_it(_request: PlaceRequest) -> PlaceOutcome:
            await other.execute(text("SELECT 1 FROM orders WHERE id = :id FOR UPDATE"), {"id": answer.order_id})
            return Accepted(broker_order_id="B7")

        floor.broker.script = [lock_it]
        running = asyncio.create_task(floor.run(answer))
        await until_done(tried)
        await other.rollback()
    assert await running is None
    assert await floor.state(answer) == ("PLACED", "DONE", 1)
    assert (await floor.desk.order(answer.order_id)).broker_order_id == "B7"


async def test_a_write_that_was_not_sent_stays_so_where_the_dead_session_cannot_be_reported(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_account_id: UUID, _version: int) -> None:
        raise OSError("the database is away")

    monkeypatch.setattr(floor.tokens, "mark_dead", away)
    answer = await floor.desk.place()
    floor.broker.script = [NotSent(reason="token expired", session_dead=True)]
    assert isinstance(await floor.run(answer), Later)
    assert await floor.state(answer) == ("PENDING", "PENDING", 1)


async def test_after_a_slow_claim_a_permit_that_cannot_be_had_means_not_sent(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.brokers.sending.PERMIT_VALID_S", -1.0)
    floor.permits.waits_s = [0.0, RuntimeError("nobody expected this")]
    answer = await floor.desk.place()
    assert isinstance(await floor.run(answer), Later)
    assert await floor.state(answer) == ("PENDING", "PENDING", 1)
    assert floor.broker.received == []
