"""Accounts, instruments, people and broker sessions come back as they were stored."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy.exc import IntegrityError

from app.core.accounts import AccountStatus, SessionState
from app.core.instruments import BrokerSymbol
from app.infra.ids import new_id
from app.repositories.accounts import StoredAccount
from app.repositories.users import User
from tests.harness.records import DAY, NOON, World, new_account

EXPIRY = datetime(2026, 1, 5, 18, 30, tzinfo=UTC)


async def test_an_account_comes_back_as_it_was_stored(world: World) -> None:
    async with world.uow.statement() as tx:
        assert await tx.accounts.stored(world.account.id) == StoredAccount(
            account=world.account, credentials=b"sealed", base_url=None
        )
        assert await tx.accounts.by_name("paper") == world.account
        assert await tx.accounts.by_name("nobody") is None
        assert await tx.accounts.stored(new_id()) is None
        assert await tx.accounts.now(new_id()) is None


async def test_accounts_are_listed_by_name_and_a_name_is_used_once(world: World) -> None:
    other = await world.second_account("another")
    same_name = replace(new_account("paper"), client_code="OTHER")
    async with world.uow.statement() as tx:
        assert await tx.accounts.all() == [other, world.account]
        with pytest.raises(IntegrityError, match="uq_broker_accounts_name"):
            await tx.accounts.add(StoredAccount(account=same_name, credentials=b"", base_url=None))


async def test_an_account_knows_its_markets_time_as_far_as_there_is_one(world: World) -> None:
    async with world.uow.statement() as tx:
        assert await tx.accounts.now(world.account.id) == (AccountStatus.ACTIVE, NOON, DAY, False, None, False)
        lonely = new_account("lonely", source="no such market")
        await tx.accounts.add(StoredAccount(account=lonely, credentials=b"", base_url="http://127.0.0.1:1"))
        assert await tx.accounts.now(lonely.id) == (AccountStatus.ACTIVE, None, None, False, None, False)
        await tx.accounts.pause(lonely.id)
        assert await tx.accounts.now(lonely.id) == (AccountStatus.PAUSED, None, None, False, None, False)


async def test_an_instrument_keeps_its_id_when_its_facts_change(world: World) -> None:
    changed = replace(
        world.instrument, id=new_id(), name="Yes Bank Limited", tick_size=Decimal("0.01"), freeze_quantity=1000
    )
    symbol = BrokerSymbol(
        broker="angelone", instrument_id=world.instrument.id, trading_symbol="YESBANK-BE", token="11916"
    )
    async with world.uow.transaction() as tx:
        assert await tx.instruments.upsert(changed) == world.instrument.id
        await tx.instruments.upsert_symbol(symbol)
    async with world.uow.statement() as tx:
        assert await tx.instruments.all() == [replace(changed, id=world.instrument.id)]
        assert await tx.instruments.symbols() == [symbol]


async def test_a_user_is_found_by_name_and_can_be_given_another_password(world: World) -> None:
    user = User(id=new_id(), username="admin", password_hash="first", role="ADMIN", disabled=False)
    async with world.uow.statement() as tx:
        assert await tx.users.count() == 0
        assert await tx.users.by_username("admin") is None
        await tx.users.add(user)
        assert await tx.users.by_username("admin") == user
        assert await tx.users.set_password("admin", "second")
        assert not await tx.users.set_password("nobody", "second")
        assert await tx.users.by_username("admin") == replace(user, password_hash="second")
        await world.execute("UPDATE users SET disabled_at = now()")
        found = await tx.users.by_username("admin")
        assert found is not None
        assert found.disabled
        assert await tx.users.count() == 1


async def test_every_login_is_a_new_version_and_clears_earlier_failures(world: World) -> None:
    account_id = world.account.id
    async with world.uow.statement() as tx:
        assert await tx.sessions.get(account_id) is None
        for _ in range(2):
            assert await tx.sessions.claim_login(account_id, for_s=0.0) is not None
            await tx.sessions.save_refusal(account_id, state=SessionState.LOGGED_OUT, error="wrong PIN", wait_s=0.0)
        failed = await tx.sessions.get(account_id)
        assert failed is not None
        assert (failed.state, failed.failures, failed.tokens) == (SessionState.LOGGED_OUT, 2, None)
        await tx.sessions.save_login(account_id, tokens=b"one", expires_at=EXPIRY)
        await tx.sessions.save_login(account_id, tokens=b"two", expires_at=EXPIRY)
        session = await tx.sessions.get(account_id)
        assert session is not None
        assert (session.state, session.tokens, session.expires_at) == (SessionState.LOGGED_IN, b"two", EXPIRY)
        assert (session.version, session.failures) == (failed.version + 2, 0)


async def test_a_late_report_about_an_old_login_does_not_end_the_new_one(world: World) -> None:
    account_id = world.account.id
    async with world.uow.statement() as tx:
        await tx.sessions.save_login(account_id, tokens=b"one", expires_at=EXPIRY)
        await tx.sessions.save_login(account_id, tokens=b"two", expires_at=EXPIRY)
        await tx.sessions.mark_expired(account_id, version=1)
        session = await tx.sessions.get(account_id)
        assert session is not None
        assert session.state is SessionState.LOGGED_IN
        await tx.sessions.mark_expired(account_id, version=2)
        session = await tx.sessions.get(account_id)
        assert session is not None
        assert session.state is SessionState.EXPIRED
