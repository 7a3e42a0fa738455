"""A role ends well on the signals that supervisors and terminals send."""

import signal
import subprocess
import sys

import pytest

from app.infra.config import PROJECT_ROOT

ROLE = """
import asyncio
from app.infra.lifecycle import run_until_stopped

async def main(stop: asyncio.Event) -> None:
    print("running", flush=True)
    await stop.wait()
    print("stopped", flush=True)

run_until_stopped(main)
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_role_stops_in_order_on_either_signal(signum: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-c", ROLE], stdout=subprocess.PIPE, text=True, cwd=PROJECT_ROOT)
    assert process.stdout is not None
    with process.stdout as lines:
        assert lines.readline() == "running\n"
        process.send_signal(signum)
        assert lines.readline() == "stopped\n"
    assert process.wait(timeout=10) == 0
