"""The whole system for tests: real PostgreSQL, Redis, paper exchange and roles, each a process, in one temp folder."""

import asyncio
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
import httpx

from app.bootstrap.foundation import foundation
from app.bootstrap.paper import paper_accounts, paper_market
from app.core.accounts import SessionState
from app.engine.feed import PAPER_SOURCE
from app.infra.config import Config
from tests.harness.paper_control import PaperControl
from tests.harness.ports import free_port
from tests.harness.postgres import PostgresProcess
from tests.harness.redis import RedisProcess
from tests.harness.roles import PROJECT_ROOT, RoleProcess

COMMAND_TIMEOUT_S = 60.0
START_TIMEOUT_S = 60.0
POLL_S = 0.05
USERNAME = "tester"
_PASSWORD = re.compile(r"password (\S+)")


class NotInTimeError(Exception):
    """Something that had to come true did not; the message ends with the tails of the roles' logs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSpec:
    """A paper account to be made; `broker` is `angelone` for the paper exchange, or `null`."""

    name: str
    orders_per_second: int
    broker: str = "angelone"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedInAccount:
    """A paper account that is logged in, with its client code at the exchange."""

    id: UUID
    name: str
    client_code: str


class System:
    """Servers run from the moment it is made, roles from `spawn` on. Use `running_system`, which is sure of the end."""

    def __init__(self, *, durable: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sauda-system-"))
        self._roles: dict[str, list[RoleProcess]] = {}
        self._database: asyncpg.Pool | None = None
        self.postgres = PostgresProcess(durable=durable)
        self.redis = RedisProcess()
        api_port, exchange_port = free_port(), free_port()
        self.environment = {
            "SAUDA_DATABASE_URL": self.postgres.url,
            "SAUDA_REDIS_URL": self.redis.url,
            "SAUDA_SECRET_KEY": secrets.token_urlsafe(48),
            "SAUDA_EXCHANGE_CONTROL_KEY": secrets.token_urlsafe(24),
            "SAUDA_API_PORT": str(api_port),
            "SAUDA_EXCHANGE_PORT": str(exchange_port),
            "SAUDA_DATA_DIR": str(self.folder / "data"),
            **(settings or {}),
        }
        self.api_url = f"http://127.0.0.1:{api_port}"
        self.config = Config.model_validate(
            {name.removeprefix("SAUDA_").lower(): value for name, value in self.environment.items()}
        )
        self.exchange = PaperControl(self.config.exchange_url, self.config.exchange_control_key.get_secret_value())
        self.password = ""
        self.keep_logs = False
        """Whether the folder with the logs outlives the system."""

    @property
    def database(self) -> asyncpg.Pool:
        """Connections to the database, for looking on."""
        if self._database is None:
            raise RuntimeError("the system is not prepared yet")
        return self._database

    async def prepare(self) -> None:
        """Migrate, make the user of the tests, load the sample, start the exchange and give YESBANK a price."""
        self.spawn("exchange")
        await asyncio.to_thread(self._command, "migrate")
        said, _ = await asyncio.gather(
            asyncio.to_thread(self._command, "admin", "create", "--username", USERNAME),
            asyncio.to_thread(self._command, "sample", "load"),
        )
        found = _PASSWORD.search(said)
        if found is None:
            raise RuntimeError(f"no password in: {said}")
        self.password = found.group(1)
        self._database = await asyncpg.create_pool(self.postgres.url.replace("+asyncpg", ""), min_size=1, max_size=4)
        await self.until(self.exchange.is_up, what="the exchange answers")
        await self.exchange.print_price()

    def spawn(self, role: str, count: int = 1) -> list[RoleProcess]:
        """Start processes of a role and return them."""
        own = self._roles.setdefault(role, [])
        new = [
            RoleProcess(role, self.environment, self.folder / f"{role}-{len(own) + number}.log")
            for number in range(count)
        ]
        own += new
        return new

    def roles(self, role: str) -> Sequence[RoleProcess]:
        """Return the processes of a role, in the order in which they were first started."""
        return self._roles.get(role, ())

    def processes(self) -> list[RoleProcess]:
        """Return the processes of all roles."""
        return [process for own in self._roles.values() for process in own]

    def kill(self, role: str, index: int = 0) -> None:
        """SIGKILL a process and start another in its place at once, as PM2 would."""
        self._roles[role][index].restart()

    def pause(self, role: str, index: int = 0) -> None:
        """Freeze a process."""
        self._roles[role][index].pause()

    def resume(self, role: str, index: int = 0) -> None:
        """Let a frozen process go on."""
        self._roles[role][index].resume()

    def end_role(self, role: str) -> None:
        """Stop all processes of a role in an orderly way."""
        for process in self._roles.get(role, []):
            process.ask_to_stop()
        for process in self._roles.pop(role, []):
            process.stop()

    def ended_by_themselves(self) -> list[RoleProcess]:
        """Return processes that nobody killed and that are gone nevertheless."""
        return [process for process in self.processes() if not process.running]

    async def add_accounts(self, specs: Sequence[AccountSpec]) -> list[LoggedInAccount]:
        """Make paper accounts and wait until the keeper has logged them in and their market has a time."""
        added: list[LoggedInAccount] = []
        async with foundation(self.config) as base:
            market = paper_market(self.config)
            try:
                service = paper_accounts(base, market)
                async with base.uow.transaction() as tx:
                    for spec in specs:
                        account = await service.add(
                            tx,
                            name=spec.name,
                            market_source=PAPER_SOURCE,
                            broker=spec.broker,
                            orders_per_second=spec.orders_per_second,
                        )
                        added.append(LoggedInAccount(id=account.id, name=account.name, client_code=account.client_code))
            finally:
                await market.close()
        await self.until(lambda: self._all_logged_in(added), what="the accounts are logged in and have market time")
        return added

    async def token(self) -> str:
        """Return a token of the API, which must be running."""
        async with httpx.AsyncClient(base_url=self.api_url, trust_env=False) as client:
            await self.until(lambda: _is_ready(client), what="the API is ready")
            answer = await client.post("/api/v1/auth/token", json={"username": USERNAME, "password": self.password})
            return str(answer.raise_for_status().json()["access_token"])

    async def until(
        self, condition: Callable[[], Awaitable[bool]], *, what: str, timeout_s: float = START_TIMEOUT_S
    ) -> None:
        """Wait until a condition holds; raises `NotInTimeError` with the roles' last words where it never does."""
        deadline = time.monotonic() + timeout_s
        while not await condition():
            if time.monotonic() > deadline:
                raise NotInTimeError(f"not within {timeout_s:g} s: {what}\n{self.last_words()}")
            await asyncio.sleep(POLL_S)

    def last_words(self) -> str:
        """Return the tails of all logs."""
        return "\n".join(f"--- {process.log_path.name}\n{process.log_tail()}" for process in self.processes())

    async def stop(self) -> None:
        """End everything, frozen or not, and remove the files unless the logs are kept."""
        await self.exchange.close()
        if self._database is not None:
            self._database.terminate()
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        processes = self.processes()
        try:
            for process in processes:
                process.ask_to_stop()
            for process in processes:
                process.stop()
        finally:
            self.redis.stop()
            self.postgres.stop()
            if not self.keep_logs:
                shutil.rmtree(self.folder, ignore_errors=True)

    def _command(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "app", *arguments],
            cwd=PROJECT_ROOT,
            env=os.environ | self.environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )
        if done.returncode != 0:
            raise RuntimeError(f"python -m app {' '.join(arguments)} failed: {done.stdout}{done.stderr}")
        return done.stdout

    async def _all_logged_in(self, accounts: Sequence[LoggedInAccount]) -> bool:
        query = """
        SELECT count(*) FROM broker_accounts a JOIN broker_sessions s ON s.account_id = a.id
        JOIN market_clock m ON m.source = a.market_source WHERE a.id = ANY($1) AND s.state = $2
        """
        ids = [account.id for account in accounts]
        return bool(await self.database.fetchval(query, ids, SessionState.LOGGED_IN.value) == len(ids))


@asynccontextmanager
async def running_system(*, durable: bool = False, settings: Mapping[str, str] | None = None) -> AsyncIterator[System]:
    """Start the servers and the exchange, and end every process at the end, however the end comes."""
    system = System(durable=durable, settings=settings)
    try:
        await system.prepare()
        yield system
    finally:
        await asyncio.shield(system.stop())


async def _is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/health/ready")).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
