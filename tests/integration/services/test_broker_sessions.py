"""The one session of each account: kept encrypted, marked dead by version, logged in only while it helps."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from app.bootstrap.trading import write_governor
from app.core.accounts import SessionState
from app.core.errors import BrokerUnreadable, LoginRefused, PaperGuardError
from app.core.ports import Broker, BrokerSession
from app.repositories.leases import Lease, LeaseLost
from app.services import broker_sessions
from app.services.broker_pool import BrokerPool, UnknownAccount
from app.services.broker_sessions import BrokerSessions, Connect
from tests.harness.desk import Desk
from tests.integration.services.conftest import ScriptedBroker, a_session, wrong_pin


def sessions(desk: Desk) -> BrokerSessions:
    return BrokerSessions(uow=desk.uow, vault=desk.base.vault, clock=desk.base.clock)


async def state(desk: Desk) -> tuple[str, int, int]:
    (row,) = await desk.rows("SELECT state, version, failures FROM broker_sessions")
    return row["state"], row["version"], row["failures"]


def as_is(broker: ScriptedBroker) -> Connect:
    async def connect() -> Broker:
        return cast(Broker, broker)

    return connect


async def log_in(desk: Desk, broker: ScriptedBroker, lease: Lease, *, at_once: bool = True) -> bool:
    """Try a login; `at_once`: as if the time that nobody may try in were over."""
    if at_once:
        await desk.execute("UPDATE broker_sessions SET next_login_at = NULL")
    return await sessions(desk).log_in_where_needed((await desk.account_named()).id, as_is(broker), lease)


async def wait_left_s(desk: Desk) -> float:
    (row,) = await desk.rows("SELECT extract(epoch FROM next_login_at - clock_timestamp()) AS s FROM broker_sessions")
    return float(row["s"])


async def open_alerts(desk: Desk) -> list[tuple[str, str]]:
    rows = await desk.rows("SELECT kind, severity FROM alerts WHERE closed_at IS NULL ORDER BY kind")
    return [(row["kind"], row["severity"]) for row in rows]


async def test_a_login_is_shared_and_its_tokens_are_stored_encrypted(plain_desk: Desk) -> None:
    account, broker, lease = await plain_desk.account_named(), ScriptedBroker(), await plain_desk.lease()
    assert await sessions(plain_desk).get(account.id) is None
    assert await log_in(plain_desk, broker, lease)
    assert await log_in(plain_desk, broker, lease)
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
    await log_in(plain_desk, broker, lease)
    await service.mark_dead(account.id, 1)
    assert await state(plain_desk) == ("EXPIRED", 1, 0)
    assert await service.get(account.id) is None
    await log_in(plain_desk, broker, lease)
    await service.mark_dead(account.id, 1)  # a worker reports the old one again
    assert await state(plain_desk) == ("LOGGED_IN", 2, 0)


class Renewing(ScriptedBroker):
    """A broker whose logins last as long as a test says, and that renews them."""

    def __init__(self, lasts: timedelta) -> None:
        super().__init__()
        self.lasts = lasts
        self.renewals: list[str] = []

    async def login(self) -> BrokerSession:
        self.logins += 1
        return replace(a_session(), expires_at=datetime.now(UTC) + self.lasts)

    async def refresh(self, session: BrokerSession) -> BrokerSession:
        self.renewals.append(session.refresh_token)
        return replace(a_session(), access_token="renewed")


async def test_a_session_is_over_at_its_hour_and_then_needs_a_login(plain_desk: Desk) -> None:
    account, lease = await plain_desk.account_named(), await plain_desk.lease()
    broker = Renewing(timedelta(0))
    await log_in(plain_desk, broker, lease)
    assert await sessions(plain_desk).get(account.id) is None
    await log_in(plain_desk, broker, lease)
    assert (broker.logins, broker.renewals) == (2, [])


async def test_a_session_that_the_broker_called_dead_early_is_renewed_without_a_one_time_code(
    plain_desk: Desk,
) -> None:
    account, lease = await plain_desk.account_named(), await plain_desk.lease()
    broker = Renewing(timedelta(hours=2))
    await log_in(plain_desk, broker, lease)
    await sessions(plain_desk).mark_dead(account.id, 1)
    assert await log_in(plain_desk, broker, lease)
    found = await sessions(plain_desk).get(account.id)
    assert found is not None
    assert (found.version, found.session.access_token) == (2, "renewed")
    assert (broker.logins, broker.renewals) == (1, ["r"])


async def ends_in(desk: Desk, lasts: str, *, since: str = "1 hour") -> bool:
    """Let the stored session end so soon; returns whether a login or renewal is due then."""
    await desk.execute(
        f"UPDATE broker_sessions SET next_login_at = NULL, updated_at = now() - interval '{since}', "
        f"expires_at = {lasts}"
    )
    async with desk.uow.statement() as tx:
        return bool(await tx.sessions.needing_login([(await desk.account_named()).id]))


async def test_a_session_is_renewed_before_its_end_unless_it_ends_at_midnight_in_india(plain_desk: Desk) -> None:
    await log_in(plain_desk, Renewing(timedelta(hours=2)), await plain_desk.lease())
    midnight = "(date_trunc('day', now() AT TIME ZONE 'Asia/Kolkata') + interval '1 day') AT TIME ZONE 'Asia/Kolkata'"
    near = "least(now() + interval '20 minutes', " + midnight + " - interval '2 minutes')"
    assert not await ends_in(plain_desk, "now() + interval '40 minutes'")
    assert not await ends_in(plain_desk, midnight)
    assert await ends_in(plain_desk, "now() - interval '1 second'")
    if await ends_in(plain_desk, near):  # but within the last two minutes of an Indian day
        assert not await ends_in(plain_desk, near, since="1 minute")


@pytest.mark.parametrize(
    ("error", "tries", "ends_as"),
    [
        (wrong_pin, 3, "BROKEN"),
        (lambda: PaperGuardError("no marker"), 1, "BROKEN"),
        (lambda: BrokerUnreadable("away"), 6, "EXPIRED"),
        (lambda: RuntimeError("credentials that nobody can read"), 6, "EXPIRED"),
    ],
)
async def test_a_login_is_tried_as_often_as_it_makes_sense(
    plain_desk: Desk, error: Callable[[], Exception], tries: int, ends_as: str
) -> None:
    broker, lease = ScriptedBroker(), await plain_desk.lease()
    broker.login_error = error()
    for _ in range(6):
        assert not await log_in(plain_desk, broker, lease)
    assert broker.logins == tries
    assert (await state(plain_desk))[0] == ends_as
    assert await open_alerts(plain_desk) == ([("SESSION_BROKEN", "CRITICAL")] if ends_as == "BROKEN" else [])


async def test_after_a_refusal_nobody_hammers_and_a_one_time_code_is_another_the_next_time(plain_desk: Desk) -> None:
    broker, lease = ScriptedBroker(), await plain_desk.lease()
    broker.login_error = LoginRefused("Invalid client code or PIN", broker_code="AB1000", configuration=True)
    assert not await log_in(plain_desk, broker, lease)
    assert 4 < await wait_left_s(plain_desk) <= 5
    assert not await log_in(plain_desk, broker, lease, at_once=False)
    assert broker.logins == 1
    await log_in(plain_desk, broker, lease)
    assert 29 < await wait_left_s(plain_desk) <= 30
    await plain_desk.execute("DELETE FROM broker_sessions")
    broker.login_error = LoginRefused("Invalid totp", broker_code="AB1050", configuration=False)
    before = datetime.now(UTC).timestamp()
    await log_in(plain_desk, broker, lease)
    again_at = datetime.now(UTC).timestamp() + await wait_left_s(plain_desk)
    assert again_at // 30 > before // 30  # in another step of the one-time code


async def test_a_person_lets_a_broken_account_try_again(plain_desk: Desk) -> None:
    account, broker, lease = await plain_desk.account_named(), ScriptedBroker(), await plain_desk.lease()
    broker.login_error = wrong_pin()
    for _ in range(4):
        await log_in(plain_desk, broker, lease)
    async with plain_desk.uow.statement() as tx:
        assert await tx.sessions.needing_login([account.id]) == {account.id: False}
        assert await tx.sessions.allow_again(account.id) is SessionState.LOGGED_OUT
        assert await tx.sessions.needing_login([account.id]) == {account.id: True}
    broker.login_error = None
    assert await log_in(plain_desk, broker, lease, at_once=False)
    assert await open_alerts(plain_desk) == []
    assert (await state(plain_desk))[::2] == ("LOGGED_IN", 0)


async def test_a_broker_that_stays_away_is_told_of_once_and_tried_ever_less_often(plain_desk: Desk) -> None:
    account, broker, lease = await plain_desk.account_named(), ScriptedBroker(), await plain_desk.lease()
    broker.login_error = BrokerUnreadable("connection refused")
    service, waits = sessions(plain_desk), []
    for _ in range(8):
        await plain_desk.execute("UPDATE broker_sessions SET next_login_at = NULL")
        assert not await service.log_in_where_needed(account.id, as_is(broker), lease)
        waits.append(await wait_left_s(plain_desk))
    assert waits[0] < 0.3
    assert max(waits) <= 5
    assert sum(waits[4:]) > sum(waits[:4])
    assert await open_alerts(plain_desk) == []
    await plain_desk.execute("UPDATE broker_sessions SET updated_at = now() - interval '31 seconds'")
    for _ in range(2):
        await log_in(plain_desk, broker, lease)
    assert await open_alerts(plain_desk) == [("LOGIN_FAILING", "CRITICAL")]
    broker.login_error = None
    assert await log_in(plain_desk, broker, lease)
    assert await open_alerts(plain_desk) == []


async def test_processes_that_want_to_log_the_same_account_in_do_it_once(plain_desk: Desk) -> None:
    broker, lease = ScriptedBroker(), await plain_desk.lease()
    answers = await asyncio.gather(*(log_in(plain_desk, broker, lease, at_once=False) for _ in range(10)))
    assert broker.logins == 1
    assert any(answers)
    assert (await state(plain_desk))[1] == 1


async def test_a_login_that_nobody_ends_is_given_up_and_another_may_try_later(
    plain_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_sessions, "LOGIN_TIMEOUT_S", 0.05)

    class Silent(ScriptedBroker):
        async def login(self) -> BrokerSession:
            self.logins += 1
            await asyncio.Event().wait()
            raise AssertionError

    broker, lease = Silent(), await plain_desk.lease()
    assert not await log_in(plain_desk, broker, lease)
    assert not await log_in(plain_desk, broker, lease, at_once=False)
    assert broker.logins == 1
    assert await log_in(plain_desk, ScriptedBroker(), lease)


async def test_a_keeper_that_lost_its_lease_neither_tries_nor_stores_a_login(plain_desk: Desk) -> None:
    account = await plain_desk.account_named()
    old = await plain_desk.lease(holder="old", ttl_s=0.0)
    new = await plain_desk.lease(holder="new")
    broker = ScriptedBroker()
    with pytest.raises(LeaseLost):
        await log_in(plain_desk, broker, old)
    assert broker.logins == 0

    class Usurped(ScriptedBroker):
        async def login(self) -> BrokerSession:
            await plain_desk.execute("UPDATE leases SET epoch = epoch + 1")
            return a_session()

    with pytest.raises(LeaseLost):
        await sessions(plain_desk).log_in_where_needed(account.id, as_is(Usurped()), new)
    assert await sessions(plain_desk).get(account.id) is None


async def test_a_login_that_works_again_forgets_earlier_failures(plain_desk: Desk) -> None:
    broker, lease = ScriptedBroker(), await plain_desk.lease()
    broker.login_error = wrong_pin()
    await log_in(plain_desk, broker, lease)
    assert (await state(plain_desk))[0] == "LOGGED_OUT"
    broker.login_error = None
    assert await log_in(plain_desk, broker, lease)
    assert (await state(plain_desk))[::2] == ("LOGGED_IN", 0)


async def test_the_pool_makes_one_client_an_account_and_none_for_strangers(plain_desk: Desk) -> None:
    pool = BrokerPool(
        uow=plain_desk.uow,
        vault=plain_desk.base.vault,
        tokens=sessions(plain_desk),
        governor=write_governor(plain_desk.base),
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
