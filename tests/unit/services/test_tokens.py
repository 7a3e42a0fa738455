"""Password checks never stand in the way of orders: off the event loop, and few at once."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import cast

import pytest

from app.infra.clock import SystemClock
from app.infra.crypto import Passwords
from app.repositories.unit_of_work import UnitOfWork
from app.services.tokens import CHECKS_AT_ONCE, NotAuthenticated, TokenService
from tests.harness.queue import eventually


class NoUsers:
    """A unit of work over a table without users."""

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[SimpleNamespace]:
        async def by_username(username: str) -> None:
            return None

        yield SimpleNamespace(users=SimpleNamespace(by_username=by_username))


class SlowPasswords:
    """Checks that wait for a sign, and count how many wait together."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.lock = threading.Lock()
        self.now, self.most = 0, 0

    def verify(self, stored: str | None, password: str) -> bool:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        assert self.go_on.wait(10)
        with self.lock:
            self.now -= 1
        return False


async def test_checks_wait_for_one_another_while_the_loop_goes_on() -> None:
    passwords = SlowPasswords()
    service = TokenService(
        uow=cast(UnitOfWork, NoUsers()),
        passwords=cast(Passwords, passwords),
        secret="s" * 32,
        ttl_minutes=1,
        clock=SystemClock(),
    )
    logins = [asyncio.create_task(service.issue("admin", "guess")) for _ in range(3 * CHECKS_AT_ONCE)]
    await eventually(lambda: passwords.now == CHECKS_AT_ONCE)  # the loop turns although checks are under way
    passwords.go_on.set()
    for login in logins:
        with pytest.raises(NotAuthenticated):
            await login
    assert passwords.most == CHECKS_AT_ONCE
