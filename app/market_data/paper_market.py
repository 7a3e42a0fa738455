"""The control side of the paper exchange: its clock, its prices, its accounts and its ledger's summary."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal, NamedTuple

import httpx
from pydantic import AwareDatetime, BaseModel, ValidationError

from app.core.instruments import Exchange

TIMEOUT_S = 10.0


class PaperMarketError(Exception):
    """The paper exchange is away, or answered something else than it should."""


class PriceStep(NamedTuple):
    """One price that the paper exchange is to show. `volume` None means as much as anyone wants."""

    exchange: Exchange
    token: str
    price: Decimal
    volume: int | None


class ClientCounts(BaseModel):
    """What one client has at the exchange."""

    orders: int
    trades: int
    terminal: int


class StepAnswer(BaseModel):
    """How the exchange stands after a step."""

    clients: dict[str, ClientCounts]


class MarketTime(BaseModel):
    """The exchange's clock. In lock-step it stands where the last step put it; None before the first."""

    mode: Literal["free", "lockstep"]
    time: AwareDatetime | None


class LedgerSummary(BaseModel):
    """One client's books as the exchange keeps them; money in rupees."""

    orders: int
    trades: int
    terminal: int
    realized_pnl: Decimal
    fees: Decimal
    cash: Decimal


class PaperMarket:
    """Talks to the control endpoints. Raises `PaperMarketError` for whatever goes wrong."""

    def __init__(self, base_url: str, control_key: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=base_url, headers={"X-Control-Key": control_key}, timeout=TIMEOUT_S, trust_env=False
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def register_account(
        self, *, client_code: str, pin: str, totp_secret: str, api_key: str, cash: Decimal
    ) -> None:
        """Open an account at the exchange; the same one again changes nothing."""
        await self._call(
            "POST",
            "/control/accounts",
            {
                "client_code": client_code,
                "pin": pin,
                "totp_secret": totp_secret,
                "api_key": api_key,
                "cash": str(cash),
            },
        )

    async def market_time(self) -> MarketTime:
        """Return the exchange's mode and clock."""
        return self._parsed(MarketTime, await self._call("GET", "/health", None))

    async def set_mode(self, mode: Literal["free", "lockstep"]) -> None:
        """Let the exchange's clock run, or hold it for steps."""
        await self._call("POST", "/control/mode", {"mode": mode})

    async def step(self, *, run: str, step: int, time: datetime, prices: Sequence[PriceStep]) -> StepAnswer:
        """Move clock and prices on, and match; the same step of the same run again changes nothing."""
        body = {"run": run, "step": step, "time": time.isoformat(), "prices": [_price(price) for price in prices]}
        return self._parsed(StepAnswer, await self._call("POST", "/control/step", body))

    async def summary(self, client_code: str) -> LedgerSummary:
        """Return a client's books as the exchange keeps them."""
        return self._parsed(LedgerSummary, await self._call("GET", f"/control/ledger/{client_code}/summary", None))

    async def _call(self, method: str, path: str, body: Mapping[str, object] | None) -> bytes:
        try:
            response = await self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise PaperMarketError(f"the paper exchange does not answer: {error!r}") from error
        if not response.is_success:
            raise PaperMarketError(f"{method} {path}: {response.status_code} {response.text[:300]}")
        return response.content

    def _parsed[Answer: BaseModel](self, shape: type[Answer], content: bytes) -> Answer:
        try:
            return shape.model_validate_json(content)
        except ValidationError as error:
            raise PaperMarketError(f"the paper exchange answered something strange: {error}") from error


def _price(price: PriceStep) -> dict[str, str | int | None]:
    return {
        "exchange": price.exchange.value,
        "token": price.token,
        "price": format(price.price, "f"),
        "volume": price.volume,
    }
