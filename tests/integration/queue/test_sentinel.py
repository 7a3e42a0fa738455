import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.infra.embedded.redis import redis_server_path
from tests.harness.ports import free_port
from tests.harness.queue import a_doorbell, a_ring, eventually, queue_client, running_worker
from tests.harness.redis import RedisProcess


@pytest.fixture
def sentinel_url(server: RedisProcess) -> Iterator[str]:
    """A real sentinel that watches the test's server under the name `orders`."""
    folder, port = Path(tempfile.mkdtemp(prefix="sauda-sentinel-")), free_port()
    lines = [f"port {port}", "bind 127.0.0.1", f"dir {folder}", f"sentinel monitor orders 127.0.0.1 {server.port} 1"]
    configuration = folder / "sentinel.conf"
    configuration.write_text("\n".join(lines) + "\n")
    command = [str(redis_server_path()), str(configuration), "--sentinel"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    yield f"redis+sentinel://127.0.0.1:{port}/orders/0"
    process.kill()
    process.wait()
    shutil.rmtree(folder)


async def test_worker_and_doorbell_find_the_server_through_its_sentinel(sentinel_url: str) -> None:
    ran: list[str] = []

    async def job(ctx: dict[str, object], **_: object) -> None:
        ran.append(str(ctx["job_id"]))

    bell = a_ring()
    async with queue_client(sentinel_url) as redis, running_worker(sentinel_url, job):

        async def heard() -> bool:
            await a_doorbell(redis).rering([bell])
            return str(bell.command_id) in ran

        await eventually(heard)
