"""A plain SmartAPI client for tests: it knows the paths and headers and hides nothing of what comes back."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pyotp

from tests.harness.exchange import CONTROL_KEY, PaperClient

AUTH = "/rest/auth/angelbroking"
SECURE = "/rest/secure/angelbroking"
MARKET_BUY: dict[str, str] = {
    "variety": "NORMAL",
    "tradingsymbol": "YESBANK-EQ",
    "symboltoken": "11915",
    "transactiontype": "BUY",
    "exchange": "NSE",
    "ordertype": "MARKET",
    "producttype": "INTRADAY",
    "duration": "DAY",
    "price": "0",
    "quantity": "10",
    "ordertag": "SDTAG",
}
LIMIT_BUY = MARKET_BUY | {"ordertype": "LIMIT", "price": "149.00"}
STOP_SELL = MARKET_BUY | {
    "variety": "STOPLOSS",
    "ordertype": "STOPLOSS_MARKET",
    "transactiontype": "SELL",
    "triggerprice": "148.00",
}


class WireClient:
    """One client of the exchange; `http` may reach a real server or an application in this process."""

    def __init__(self, http: httpx.AsyncClient, client: PaperClient) -> None:
        self.http = http
        self.client = client
        self.tokens: dict[str, str] = {}

    @property
    def headers(self) -> dict[str, str]:
        """API key and, once logged in, the access token."""
        headers = {"X-PrivateKey": self.client.api_key}
        if self.tokens:
            headers["Authorization"] = f"Bearer {self.tokens['jwtToken']}"
        return headers

    async def post(self, path: str, body: object) -> httpx.Response:
        """POST a JSON body."""
        return await self.http.post(path, json=body, headers=self.headers)

    async def get(self, path: str) -> httpx.Response:
        """GET."""
        return await self.http.get(path, headers=self.headers)

    async def login(self, *, at: datetime | None = None) -> None:
        """Log in with the right PIN and code."""
        code = pyotp.TOTP(self.client.totp_secret).at(at or datetime.now(UTC))
        body = {"clientcode": self.client.client_code, "password": self.client.pin, "totp": code}
        answer = await self.post(f"{AUTH}/user/v1/loginByPassword", body)
        self.tokens = answer.json()["data"]

    async def place(self, order: dict[str, str], **changes: str) -> dict[str, Any]:
        """Place an order and return the whole envelope."""
        envelope: dict[str, Any] = (await self.post(f"{SECURE}/order/v1/placeOrder", order | changes)).json()
        return envelope

    async def placed(self, order: dict[str, str], **changes: str) -> str:
        """Place an order that must be taken and return its order id."""
        envelope = await self.place(order, **changes)
        assert envelope["status"] is True, envelope
        return str(envelope["data"]["orderid"])

    async def book(self) -> dict[str, dict[str, Any]]:
        """Return the order book by order id."""
        rows = (await self.get(f"{SECURE}/order/v1/getOrderBook")).json()["data"] or []
        return {row["orderid"]: row for row in rows}

    async def trades(self) -> list[dict[str, Any]]:
        """Return the trade book."""
        rows: list[dict[str, Any]] = (await self.get(f"{SECURE}/order/v1/getTradeBook")).json()["data"] or []
        return rows

    async def control(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Call a control endpoint."""
        return await self.http.request(method, path, json=body, headers={"X-Control-Key": CONTROL_KEY})

    async def print_price(self, price: str, volume: int | None = None, token: str = "11915") -> None:
        """Print one price in free mode."""
        prices = [{"exchange": "NSE", "token": token, "price": price, "volume": volume}]
        answer = await self.control("POST", "/control/prices", {"prices": prices})
        assert answer.status_code == 200, answer.text

    async def step(self, number: int, time: str, *prices: tuple[str, int | None], run: str = "R1") -> dict[str, Any]:
        """Take a step with prices of YESBANK (at most one) and return the answer."""
        rows = [{"exchange": "NSE", "token": "11915", "price": price, "volume": volume} for price, volume in prices]
        body = {"run": run, "step": number, "time": time, "prices": rows}
        answer = await self.control("POST", "/control/step", body)
        assert answer.status_code == 200, answer.text
        parsed: dict[str, Any] = answer.json()
        return parsed
