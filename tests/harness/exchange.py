"""The real paper exchange in a process of a test's own: free port, its own ledger, killed and restarted at will."""

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.harness.ports import free_port

PROJECT_ROOT = Path(__file__).resolve().parents[2]
CONTROL_KEY = "control-key-of-the-tests"
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
CONTROL_TIMEOUT_S = 30.0

COLUMNS = (
    "exchange,symbol,name,kind,tick_size,lot_size,freeze_quantity,broker,trading_symbol,token".split(",")  # noqa: SIM905
)
YESBANK = "NSE,YESBANK,YES BANK,EQUITY,0.05,1,,angelone,YESBANK-EQ,11915"
INSTRUMENTS = (
    YESBANK,
    "NSE,JUNIORBEES,NIPPON NIFTY NEXT 50 ETF,ETF,0.01,1,,angelone,JUNIORBEES-EQ,10939",
    "NSE,NIFTY 50,NIFTY 50,INDEX,0.05,1,,angelone,Nifty 50,99926000",
    "NFO,NIFTY28NOV26FUT,NIFTY future,FUTURE,0.05,75,1800,angelone,NIFTY28NOV26FUT,57000",
)
"""Rows of the instruments file that the exchange lists unless a test brings its own."""


@dataclass(frozen=True, slots=True)
class PaperClient:
    """A paper account that `add_client` opens."""

    client_code: str = "P100"
    pin: str = "4321"
    totp_secret: str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    api_key: str = "paper-key"
    cash: str = "1000000.00"


class ControlError(Exception):
    """A control endpoint answered with another status than 200."""

    def __init__(self, status: int, body: object) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


class ExchangeProcess:
    """Running from the moment it is made until `stop`; `kill` and `restart` keep port and ledger."""

    def __init__(self, instruments: Path | None = None, *, control_key: str = CONTROL_KEY) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.control_key = control_key
        self._dir = Path(tempfile.mkdtemp(prefix="sauda-exchange-"))
        self.ledger_path = self._dir / "ledger.sqlite3"
        self.log_path = self._dir / "exchange.log"
        self._instruments = instruments or write_instruments(self._dir / "instruments.csv")
        self._process = self._start()

    @property
    def pid(self) -> int:
        """Process id of the running exchange."""
        return self._process.pid

    def control(self, method: str, path: str, body: object = None) -> dict[str, object]:
        """Call a control endpoint such as `/control/prices`; raises `ControlError` unless it answers 200."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Control-Key": self.control_key, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=CONTROL_TIMEOUT_S) as answer:
                parsed: dict[str, object] = json.load(answer)
                return parsed
        except urllib.error.HTTPError as error:
            with error:
                raise ControlError(error.code, error.read().decode()) from error

    def add_client(self, client: PaperClient | None = None) -> PaperClient:
        """Open a paper account and return it."""
        client = client or PaperClient()
        self.control("POST", "/control/accounts", {name: getattr(client, name) for name in client.__slots__})
        return client

    def print_price(
        self, price: str, *, token: str = "11915", exchange: str = "NSE", volume: int | None = None
    ) -> None:
        """Print one price in free mode."""
        prices = [{"exchange": exchange, "token": token, "price": price, "volume": volume}]
        self.control("POST", "/control/prices", {"prices": prices})

    def ledger(self, client_code: str = "P100") -> dict[str, object]:
        """Return the ledger's testimony about a client."""
        return self.control("GET", f"/control/ledger/{client_code}")

    def kill(self) -> None:
        """SIGKILL the exchange and leave it down."""
        self._process.kill()
        self._process.wait()

    def start(self) -> None:
        """Start an exchange that was killed, on the same port and ledger."""
        self._process = self._start()

    def restart(self) -> None:
        """SIGKILL the exchange and start it again on the same port and ledger."""
        self.kill()
        self.start()

    def terminate(self) -> int:
        """Ask the exchange to stop and return its exit code."""
        self._process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Wait until the exchange has ended by itself and return its exit code."""
        return self._process.wait(STOP_TIMEOUT_S)

    def stop(self) -> None:
        """End the exchange and remove its folder."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self._dir, ignore_errors=True)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "app.exchange", "--port", str(self.port), "--ledger", str(self.ledger_path)]
        command += ["--instruments", str(self._instruments), "--control-key-env", "PAPER_CONTROL_KEY"]
        with self.log_path.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=PROJECT_ROOT,
                env=os.environ | {"PAPER_CONTROL_KEY": self.control_key},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise RuntimeError(f"the paper exchange did not start: {self.log_path.read_text()[-2000:]}")
            time.sleep(0.02)
        return process

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1.0) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def write_instruments(path: Path, rows: tuple[str, ...] = INSTRUMENTS) -> Path:
    """Write an instruments file and return its path."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(row.split(",") for row in rows)
    return path
