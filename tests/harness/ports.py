"""Free ports for test servers."""

import random
import socket

FIRST, LAST = 20000, 31999
"""Below the range that outgoing connections take their ports from: a stopped server's port stays free for it."""


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    for _ in range(200):
        port = random.randint(FIRST, LAST)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    message = f"no free port between {FIRST} and {LAST}"
    raise RuntimeError(message)
