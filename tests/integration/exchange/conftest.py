"""An exchange inside the test's process, with a wall clock that the test sets, and one as a real process."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from app.core.fees import FeeRates, FeeSchedule
from app.core.orders import Product
from app.exchange.instruments import read_instruments
from app.exchange.ledger import Ledger
from app.exchange.server import build_app
from app.exchange.settings import ExchangeSettings
from tests.harness.exchange import CONTROL_KEY, ExchangeProcess, PaperClient, write_instruments
from tests.harness.smartapi import WireClient

RATES = FeeRates(
    brokerage_rate=Decimal("0.0003"),
    brokerage_min=Decimal(0),
    brokerage_max=Decimal(20),
    stt_buy_rate=Decimal(0),
    stt_sell_rate=Decimal("0.00025"),
    exchange_rate=Decimal("0.0000297"),
    sebi_rate=Decimal("0.000001"),
    stamp_buy_rate=Decimal("0.00003"),
    gst_rate=Decimal("0.18"),
)
SCHEDULE = FeeSchedule(effective_from=date(2019, 1, 1), source="test", by_product=dict.fromkeys(Product, RATES))


@dataclass
class Desk:
    """An exchange in this process: the client who is logged in, and the clock of the wall."""

    settings: ExchangeSettings
    now: datetime = datetime(2026, 9, 21, 5, 0, tzinfo=UTC)
    clients: list[httpx.AsyncClient] = field(default_factory=list)
    ledgers: list[Ledger] = field(default_factory=list)

    def open(self) -> WireClient:
        """Start an exchange on the ledger, as a restarted process would, and return a client of it."""
        app = build_app(self.settings, wall_clock=lambda: self.now)
        self.ledgers.append(app.state.ledger)
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://exchange")
        self.clients.append(http)
        return WireClient(http, PaperClient())

    async def enter(self, wire: WireClient, client_code: str = "P100", cash: str = "1000000.00") -> WireClient:
        """Open an account, log it in, and return its client."""
        client = PaperClient(client_code=client_code, cash=cash)
        body = {name: getattr(client, name) for name in client.__slots__}
        answer = await wire.control("POST", "/control/accounts", body)
        assert answer.status_code == 200, answer.text
        entered = WireClient(wire.http, client)
        await entered.login(at=self.now)
        return entered


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    instruments = read_instruments(write_instruments(tmp_path / "instruments.csv"))
    made = Desk(
        ExchangeSettings(
            host="127.0.0.1",
            port=0,
            control_key=CONTROL_KEY,
            ledger_path=tmp_path / "ledger.sqlite3",
            instruments=instruments,
            fee_schedules=[SCHEDULE],
        )
    )
    yield made
    for client in made.clients:
        await client.aclose()
    for ledger in made.ledgers:
        ledger.close()


@pytest.fixture
async def wire(desk: Desk) -> WireClient:
    """A client who is logged in to a free market."""
    return await desk.enter(desk.open())


@pytest.fixture(scope="module")
def exchange() -> Iterator[ExchangeProcess]:
    """A real exchange process for the tests of a module."""
    process = ExchangeProcess()
    yield process
    process.stop()
