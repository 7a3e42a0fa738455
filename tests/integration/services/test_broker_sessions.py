"""The one session of each account: kept encrypted, marked dead by version, logged in only while it helps."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.core.errors import BrokerUnreadable, PaperGuardError
from app.core.ports import BrokerSession
from app.repositories.leases import LeaseLost
from app.services.broker_pool import BrokerPool, UnknownAccount
from app.services.broker_sessions import BrokerSessions
from tests.harness.desk import Desk
from tests.integration.services.conftest import Permits, ScriptedBroker, a_session, wrong_pin


def sessions(desk: Desk) -> BrokerSessions:
    return BrokerSessions(uow=desk.uow, vault=desk.base.vault, clock=desk.base.clock)


async def state(desk: Desk) -> tuple[str, int, int]:
    (row,) = await desk.rows("SELECT state, version, failures FROM broker_sessions")
    return row["state"], row["version"], row["failures"]


async def test_a_login_is_shared_and_its_tokens_are_stored_encrypted(plain_desk: Desk) -> None:
    account, broker, lease = await plain_desk.account_named(), ScriptedBroker(), await plain_desk.lease()
    assert await sessions(plain_desk).get(account.id) is None
    assert await sessions(plain_desk).log_in_where_needed(account.id, broker, lease)
    assert await sessions(plain_desk).log_in_where_needed(account.id, broker, lease)
    assert broker.logins == 1
    found = await sessions(plain_desk).get(account.id)
    assert found is not None
    assert (found.version, found.session.access_token) == (1, "a")
    (row,) = await plain_desk.rows("SELECT tokens FROM broker_sessions")
    assert b"access" not in row["tokens"]
    assert "access_token" not in repr(found.session)


async def test_only_the_newest_login_can_be_marked_dead(plain_desk: Desk) -> None:
    account, broker, lease = await plain_desk.account_named(), ScriptedBroker(), await plain_desk.lease()
    service = sessions(plain_desk)
    await service.log_in_where_needed(account.id, broker, lease)
    await service.mark_dead(account.id, 1)
    assert await state(plain_desk) == ("EXPIRED", 1, 0)
    assert await service.get(account.id) is None
    await service.log_in_where_needed(account.id, broker, lease)
    await service.mark_dead(account.id, 1)  # a worker reports the old one again
    assert await state(plain_desk) == ("LOGGED_IN", 2, 0)


async def test_a_session_is_over_at_its_hour(plain_desk: Desk) -> None:
    account, lease = await plain_desk.account_named(), await plain_desk.lease()

    class Brief(ScriptedBroker):
        async def login(self) -> BrokerSession:
            self.logins += 1
            return replace(a_session(), expires_at=datetime.now(UTC))

    broker = Brief()
    await sessions(plain_desk).log_in_where_needed(account.id, broker, lease)
    assert await sessions(plain_desk).get(account.id) is None
    await sessions(plain_desk).log_in_where_needed(account.id, broker, lease)
    assert broker.logins == 2


@pytest.mark.parametrize(
    ("error", "tries", "ends_as"),
    [
        (wrong_pin, 3, "BROKEN"),
        (lambda: PaperGuardError("no marker"), 1, "BROKEN"),
        (lambda: BrokerUnreadable("away"), 6, None),
    ],
)
async def test_a_login_is_tried_as_often_as_it_makes_sense(
    plain_desk: Desk, error: Callable[[], Exception], tries: int, ends_as: str | None
) -> None:
    account, broker, lease = await plain_desk.account_named(), ScriptedBroker(), await plain_desk.lease()
    broker.login_error = error()
    for _ in range(6):
        assert not await sessions(plain_desk).log_in_where_needed(account.id, broker, lease)
    assert broker.logins == tries
    found = [row["state"] for row in await plain_desk.rows("SELECT state FROM broker_sessions")]
    assert found == ([ends_as] if ends_as else [])


async def test_a_login_that_works_again_forgets_earlier_failures(plain_desk: Desk) -> None:
    account, broker, lease = await plain_desk.account_named(), ScriptedBroker(), await plain_desk.lease()
    broker.login_error = wrong_pin()
    await sessions(plain_desk).log_in_where_needed(account.id, broker, lease)
    assert (await state(plain_desk))[0] == "LOGGED_OUT"
    broker.login_error = None
    assert await sessions(plain_desk).log_in_where_needed(account.id, broker, lease)
    assert (await state(plain_desk))[::2] == ("LOGGED_IN", 0)


async def test_a_keeper_that_lost_its_lease_stores_no_login(plain_desk: Desk) -> None:
    account = await plain_desk.account_named()
    old = await plain_desk.lease(holder="old", ttl_s=0.0)
    await plain_desk.lease(holder="new")
    with pytest.raises(LeaseLost):
        await sessions(plain_desk).log_in_where_needed(account.id, ScriptedBroker(), old)
    assert await plain_desk.count("broker_sessions") == 0


async def test_the_pool_makes_one_client_an_account_and_none_for_strangers(plain_desk: Desk) -> None:
    pool = BrokerPool(
        uow=plain_desk.uow,
        vault=plain_desk.base.vault,
        tokens=sessions(plain_desk),
        permits=Permits(),
        clock=plain_desk.base.clock,
        paper_url="http://127.0.0.1:1",
    )
    account = await plain_desk.account_named()
    try:
        assert await pool.get(account.id) is await pool.get(account.id)
        with pytest.raises(UnknownAccount):
            await pool.get(plain_desk.instruments["YESBANK"].id)
    finally:
        await pool.close()
