"""Waiting until the API says that it is ready."""

import http.client
import time
from collections.abc import Callable

from scripts.launch.console import LaunchError

READY_TIMEOUT_S = 60.0
SAY_EVERY_S = 5.0
POLL_S = 0.1
ANSWER_TIMEOUT_S = 2.0
BODY_BYTES_MAX = 2_000


def wait_until_ready(port: int, *, say: Callable[[str], None], failed: Callable[[], list[str]]) -> None:
    """Wait until `/health/ready` answers 200.

    Args:
        port: The API's port on this machine.
        say: Told every few seconds what is waited for.
        failed: Names the processes that were given up, if any.

    Raises:
        LaunchError: a process was given up, or the API was not ready in time.
    """
    begun = time.monotonic()
    said = begun
    while True:
        ready, answer = _ask(port)
        if ready:
            return
        now = time.monotonic()
        if now - said > SAY_EVERY_S:
            said = now
            given_up = failed()
            if given_up:
                names = ", ".join(given_up)
                message = f"{names} cannot stay up: look at the last lines of logs/{given_up[0]}.log"
                raise LaunchError(message)
            say(f"waiting for the API ({now - begun:.0f} s): {answer}")
        if now - begun > READY_TIMEOUT_S:
            message = f"the API is not ready after {READY_TIMEOUT_S:.0f} s ({answer}): look at logs/api.log"
            raise LaunchError(message)
        time.sleep(POLL_S)


def _ask(port: int) -> tuple[bool, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", "/health/ready")
        response = connection.getresponse()
        body = response.read(BODY_BYTES_MAX).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return False, "no answer yet"
    finally:
        connection.close()
    return response.status == http.client.OK, f"{response.status} {body}"
