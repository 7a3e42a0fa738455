"""`python -m app api` on a real socket: it starts, answers, refuses floods, and stops on a signal."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import httpx

from tests.harness.desk import SECRET, desk
from tests.harness.exchange import CONTROL_KEY, PROJECT_ROOT
from tests.harness.ports import free_port
from tests.harness.queue import eventually
from tests.integration.api.conftest import ORDER


def start_api(database_url: str, redis_url: str, port: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "SAUDA_DATABASE_URL": database_url,
        "SAUDA_REDIS_URL": redis_url,
        "SAUDA_SECRET_KEY": SECRET,
        "SAUDA_EXCHANGE_CONTROL_KEY": CONTROL_KEY,
        "SAUDA_API_PORT": str(port),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "app", "api"],
        cwd=PROJECT_ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


async def test_the_role_serves_orders_and_stops_when_it_is_told(database_url: str, redis_url: str) -> None:
    port = free_port()
    process = start_api(database_url, redis_url, port)
    try:
        async with (
            desk(database_url, redis_url) as made,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as client,
        ):
            await made.add_user()

            async def is_up() -> bool:
                try:
                    return (await client.get("/health/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(is_up, timeout_s=30)
            login = await client.post("/api/v1/auth/token", json={"username": "admin", "password": "right"})
            client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
            headers = {"Idempotency-Key": "k1"}
            first = await client.post("/api/v1/orders", json=ORDER, headers=headers)
            again = await client.post("/api/v1/orders", json=ORDER, headers=headers)
            assert (first.status_code, again.json()) == (202, first.json())

            for content in (b"x" * 10_485_760, _parts()):
                flood = await client.post("/api/v1/orders", content=content, headers=headers)
                assert (flood.status_code, flood.json()["code"]) == (413, "body_too_large")
            assert await made.count("orders") == 1

            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=20)
            assert process.returncode == 0
            assert b"Traceback" not in output
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


async def _parts() -> AsyncIterator[bytes]:
    for _ in range(160):
        yield b" " * 65_536


def test_a_port_in_use_ends_the_role_with_an_error(database_url: str, redis_url: str) -> None:
    first_port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first_port))
        taken.listen()
        process = start_api(database_url, redis_url, first_port)
        output, _ = process.communicate(timeout=30)
    assert process.returncode != 0
    assert str(first_port).encode() in output
