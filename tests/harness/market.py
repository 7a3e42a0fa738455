"""The paper exchange as a role of the system, with its fees, for tests that compare our books with its ledger."""

import shutil
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import httpx

from tests.harness.desk import environment, settings
from tests.harness.exchange import CONTROL_KEY
from tests.harness.ports import free_port
from tests.harness.roles import RoleProcess

START_TIMEOUT_S = 30.0
YESBANK_TOKEN = "11915"


class Market:
    """Running from the moment it is made until `stop`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = Path(tempfile.mkdtemp(prefix="sauda-market-"))
        config = settings("postgresql+asyncpg://nobody", "redis://nobody", exchange_port=self.port)
        config = config.model_copy(update={"data_dir": self._folder})
        self.process = RoleProcess("exchange", environment(config), self._folder / "exchange.log")
        self._http = httpx.Client(base_url=self.url, headers={"X-Control-Key": CONTROL_KEY}, trust_env=False)
        self.until_up()

    def until_up(self) -> None:
        """Wait until the exchange answers."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=1.0) as answer:
                    if answer.status == 200:
                        return
            except (OSError, urllib.error.URLError):
                if time.monotonic() > deadline or not self.process.running:
                    raise RuntimeError(self.process.log_tail()) from None
                time.sleep(0.02)

    def control(self, method: str, path: str, body: object = None) -> dict[str, object]:
        """Call a control endpoint, which must answer with 200."""
        answer = self._http.request(method, f"/control/{path}", json=body)
        assert answer.status_code == 200, answer.text
        parsed: dict[str, object] = answer.json()
        return parsed

    def print_price(self, price: str, *, volume: int | None = None, token: str = YESBANK_TOKEN) -> None:
        """Print one price in free mode."""
        self.control(
            "POST", "prices", {"prices": [{"exchange": "NSE", "token": token, "price": price, "volume": volume}]}
        )

    def faults(self, *rules: dict[str, object]) -> None:
        """Replace the fault rules; none switches all faults off."""
        self.control("PUT", "faults", {"seed": 1, "rules": list(rules)})

    def stop(self) -> None:
        """End the exchange and remove its folder."""
        self._http.close()
        self.process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
