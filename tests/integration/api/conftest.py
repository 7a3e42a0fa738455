"""The API in this process, over a real PostgreSQL and a real Redis."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.bootstrap.api import api_application
from tests.harness.desk import Desk, a_token, desk

ORDER: dict[str, Any] = {
    "account": "paper",
    "instrument": "NSE:YESBANK",
    "side": "BUY",
    "quantity": 10,
    "order_type": "LIMIT",
    "price": "182.65",
    "product": "MIS",
}


@dataclass
class Api:
    """A client with a valid token, the application behind it, and the desk that sees what was stored."""

    http: httpx.AsyncClient
    app: FastAPI
    desk: Desk
    order: dict[str, Any] = field(default_factory=lambda: dict(ORDER))

    async def post(self, body: object = None, *, key: str = "k1", **changes: Any) -> httpx.Response:  # noqa: ANN401
        """POST an order: the ordinary one with changes, or the given body."""
        return await self.http.post(
            "/api/v1/orders",
            json=self.order | changes if body is None else body,
            headers={"Idempotency-Key": key},
        )

    async def get(self, path: str, **params: str | int) -> Any:  # noqa: ANN401
        """GET a list or a thing that must be there."""
        answer = await self.http.get(f"/api/v1{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
async def api(database_url: str, redis_url: str) -> AsyncIterator[Api]:
    async with desk(database_url, redis_url) as made, api_application(made.base.config) as app:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
            http.headers["Authorization"] = f"Bearer {a_token()}"
            yield Api(http, app, made)
