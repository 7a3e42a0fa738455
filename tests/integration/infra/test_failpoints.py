"""A process is really killed or frozen at a failpoint, and never without the environment's word."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.brokers.http import HttpChannel, Reply
from app.infra.clock import SystemClock
from app.infra.failpoints import arm
from tests.harness.angelone import quick_record
from tests.harness.broker_server import broker_server, http_reply

PROJECT_ROOT = Path(__file__).resolve().parents[3]
WAIT_S = 20.0

WALK = """
import os
from app.infra.failpoints import Point, arm, reach

arm(os.environ)
for point in Point:
    reach(point)
print("came through", flush=True)
"""

SEND = """
import os, sys
import httpx, uvloop
from app.brokers.base import Timeouts
from app.brokers.http import HttpChannel
from app.infra.clock import SystemClock
from app.infra.failpoints import arm

async def main():
    clock = SystemClock()
    stages = ("connect_s", "write_s", "read_s", "pool_s", "total_s", "keepalive_s", "unacknowledged_s")
    channel = HttpChannel(timeouts=Timeouts(**dict.fromkeys(stages, 5.0)), clock=clock)
    write = {"content": b"x" * 2000, "max_bytes": 1000}
    url = httpx.URL(sys.argv[1])
    print(await channel.exchange("POST", url, httpx.Headers(), **write), flush=True)
    await channel.exchange("POST", url, httpx.Headers(), deadline=clock.monotonic() + 5, **write)
    print("answered", flush=True)

arm(os.environ)
uvloop.run(main())
"""


@contextmanager
def child(*arguments: str, failpoints: str = "") -> Iterator[subprocess.Popen[str]]:
    """Run Python in a process of its own; it is gone afterwards whatever it did to itself."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=PROJECT_ROOT,
        env=os.environ | {"SAUDA_FAILPOINTS": failpoints},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def state_of(process: subprocess.Popen[str]) -> str:
    """Return the kernel's letter for the process: T is stopped."""
    return Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


def test_without_the_variable_every_point_lets_the_process_through() -> None:
    with child("-c", WALK) as process:
        out, _ = process.communicate(timeout=WAIT_S)
        assert process.returncode == 0
        assert "came through" in out


def test_a_kill_ends_the_process_by_sigkill() -> None:
    with child("-c", WALK, failpoints="keeper.before_apply=kill") as process:
        out, _ = process.communicate(timeout=WAIT_S)
        assert process.returncode == -signal.SIGKILL
        assert "came through" not in out


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="process states are read from /proc")
def test_a_stop_freezes_the_process_until_it_is_told_to_go_on() -> None:
    with child("-c", WALK, failpoints="queue.after_take=stop") as process:
        deadline = time.monotonic() + WAIT_S
        while state_of(process) != "T":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGCONT)
        out, _ = process.communicate(timeout=WAIT_S)
        assert process.returncode == 0
        assert "came through" in out


def test_a_role_refuses_to_start_with_a_point_that_does_not_exist() -> None:
    settings = {
        "SAUDA_DATABASE_URL": "postgresql+asyncpg://nobody@127.0.0.1:1/none",
        "SAUDA_REDIS_URL": "redis://127.0.0.1:1/0",
        "SAUDA_SECRET_KEY": "k" * 32,
        "SAUDA_FAILPOINTS": "worker.after_lunch=kill",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "app", "worker"],
        cwd=PROJECT_ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert ended.returncode == 1
    assert "there is no point 'worker.after_lunch'; there are worker.before_claim" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_after_send_comes_when_the_whole_order_has_left_and_never_for_a_read() -> None:
    async with broker_server(lambda server: server.always(http_reply(b"{}"))) as server:
        with child("-c", SEND, server.url, failpoints="worker.after_send=kill") as process:
            out, err = await asyncio.to_thread(process.communicate, timeout=WAIT_S)
        # What the kernel had taken from the killed process still arrives.
        async with asyncio.timeout(WAIT_S):
            while server.received.count(b"x" * 2000) < 2:  # noqa: ASYNC110  the server has no event for the second
                await asyncio.sleep(0.01)

    assert process.returncode == -signal.SIGKILL, err
    assert "Reply(status=200" in out
    assert "answered" not in out


@pytest.mark.parametrize("seconds_left", [5.0, None])
async def test_a_point_that_never_fires_leaves_requests_as_they_are(seconds_left: float | None) -> None:
    arm({"SAUDA_FAILPOINTS": "worker.after_send=kill@0"})
    clock = SystemClock()
    channel = HttpChannel(timeouts=quick_record().timeouts, clock=clock)
    try:
        async with broker_server(lambda server: server.always(http_reply(b"{}"))) as server:
            reply = await channel.exchange(
                "POST",
                httpx.URL(server.url),
                httpx.Headers(),
                content=b"x",
                max_bytes=100,
                deadline=None if seconds_left is None else clock.monotonic() + seconds_left,
            )
            assert isinstance(reply, Reply)
    finally:
        arm({})
        await channel.close()
