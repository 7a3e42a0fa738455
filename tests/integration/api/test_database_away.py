"""The API while PostgreSQL is dead or frozen: a 503 that says when to repeat, then life goes on by itself."""

import asyncio

import httpx
import pytest

from app.bootstrap.api import api_application
from app.infra import database
from app.infra.migrations import migrate
from tests.harness.desk import a_token, desk
from tests.harness.postgres import PostgresProcess
from tests.harness.queue import eventually
from tests.integration.api.conftest import ORDER


async def post(client: httpx.AsyncClient, key: str) -> httpx.Response:
    return await client.post("/api/v1/orders", json=ORDER, headers={"Idempotency-Key": key})


async def assert_all_are_problems(client: httpx.AsyncClient) -> None:
    """More requests than the pool has connections: those that wait for one in vain are told the same."""
    answers = await asyncio.gather(
        *(post(client, f"lost{n}") for n in range(8)),
        *(client.get(f"/api/v1/{path}") for path in ("orders", "fills", "positions")),
        client.post("/api/v1/auth/token", json={"username": "admin", "password": "right"}),
    )
    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "database_unavailable"
        assert "Traceback" not in answer.text
    live, ready = await client.get("/health/live"), await client.get("/health/ready")
    assert (live.status_code, ready.status_code) == (200, 503)
    assert (ready.json()["status"], ready.json()["components"]["database"]) == ("unavailable", "away")


async def test_a_dead_or_frozen_database_is_a_503_and_comes_back_by_itself(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The patience of production would make the test wait for a minute.
    for name in ("COMMAND_TIMEOUT_S", "CONNECT_TIMEOUT_S", "POOL_WAIT_S"):
        monkeypatch.setattr(database, name, 1.0)
    server = PostgresProcess(durable=True)
    try:
        database_url = server.create_database("api")
        await asyncio.to_thread(migrate, database_url)
        async with (
            desk(database_url, redis_url, db_pool_size=3) as made,
            api_application(made.base.config) as app,
            # Errors that the application raises again after its answer would surface here.
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client,  # type: ignore[arg-type]  # its stub of ASGI is stricter
        ):
            client.headers["Authorization"] = f"Bearer {a_token()}"
            first = await post(client, "before")
            assert first.status_code == 202

            server.pause()
            await assert_all_are_problems(client)
            server.resume()

            async def answers_again() -> bool:
                return (await post(client, "before")).status_code == 202

            await eventually(answers_again)
            server.kill()
            await assert_all_are_problems(client)
            server.restart()
            await eventually(answers_again)

            again = await post(client, "before")
            assert again.json() == first.json()
            assert again.headers["idempotency-replayed"] == "true"
            for n in range(8):
                assert (await post(client, f"lost{n}")).status_code == 202
            assert len((await client.get("/api/v1/orders")).json()["items"]) == 9
    finally:
        server.stop()
