"""The control side of the paper exchange for tests: its prices, its faults, and its ledger as the witness."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import httpx

YESBANK_TOKEN = "11915"
FIRST_PRICE = Decimal("182.65")
CONTROL_TIMEOUT_S = 30.0


class LedgerOrder(NamedTuple):
    """One order that reached the exchange, as its own ledger holds it."""

    order_id: str
    tag: str
    side: str
    filled: int
    status: str
    received_at: datetime


class Fault(NamedTuple):
    """One fault rule: what goes wrong, how often, and with which requests; a duration makes each strike a storm."""

    kind: str
    probability: float
    ops: tuple[str, ...] = ("place",)
    delay_ms: int = 0
    duration_ms: int = 0
    limit: int | None = None


class PaperControl:
    """Talks to the control endpoints; raises `httpx.HTTPError` when they do not answer 200."""

    def __init__(self, base_url: str, control_key: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=base_url, headers={"X-Control-Key": control_key}, timeout=CONTROL_TIMEOUT_S, trust_env=False
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def is_up(self) -> bool:
        """Whether the exchange answers."""
        try:
            return (await self._client.get("/health")).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    async def print_price(
        self,
        price: Decimal = FIRST_PRICE,
        *,
        volume: int | None = None,
        token: str = YESBANK_TOKEN,
        exchange: str = "NSE",
    ) -> None:
        """Print one price, of YESBANK unless told; without a volume any number of units may trade at it."""
        row = {"exchange": exchange, "token": token, "price": str(price), "volume": volume}
        await self._call("POST", "/control/prices", {"prices": [row]})

    async def set_faults(self, faults: Sequence[Fault], *, seed: int = 0) -> None:
        """Replace the fault rules; none makes the exchange healthy."""
        rules = [{**fault._asdict(), "ops": list(fault.ops)} for fault in faults]
        await self._call("PUT", "/control/faults", {"seed": seed, "rules": rules})

    async def faults_fired(self) -> dict[str, int]:
        """Return how often the rules in force have fired, by kind."""
        answer = (await self._call("GET", "/control/faults", None)).json()
        fired: Counter[str] = Counter()
        for rule in answer["rules"]:
            fired[str(rule["kind"])] += int(rule["fired"])
        return dict(fired)

    async def ledger(self, client_code: str) -> list[LedgerOrder]:
        """Return every order of a client that reached the exchange, oldest first."""
        answer = (await self._call("GET", f"/control/ledger/{client_code}", None)).json()
        return [
            LedgerOrder(
                order_id=row["order_id"],
                tag=row["tag"],
                side=row["side"],
                filled=row["filled"],
                status=row["status"],
                received_at=datetime.fromisoformat(row["received_at"]),
            )
            for row in answer["orders"]
        ]

    async def testimony(self, client_code: str) -> dict[str, Any]:
        """Return all that the ledger holds about a client: orders, trades and the summary, as the exchange wrote it."""
        answer: dict[str, Any] = (await self._call("GET", f"/control/ledger/{client_code}", None)).json()
        return answer

    async def set_tag_echo(self, mode: str) -> None:
        """Change where order tags are given back: `book`, `details` or `none`."""
        await self._call("POST", "/control/tag-echo", {"mode": mode})

    async def shift_clock(self, offset_ms: int) -> None:
        """Set the exchange's clock off the machine's."""
        await self._call("POST", "/control/clock", {"offset_ms": offset_ms})

    async def trades(self, client_codes: Sequence[str]) -> int:
        """Return how many trades these clients have made."""
        answers = [(await self._call("GET", f"/control/ledger/{code}/summary", None)).json() for code in client_codes]
        return sum(int(answer["trades"]) for answer in answers)

    async def _call(self, method: str, path: str, body: object) -> httpx.Response:
        response = await self._client.request(method, path, json=body)
        return response.raise_for_status()
