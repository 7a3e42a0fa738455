"""What can go wrong with the queue itself."""

from app.core.errors import SaudaError


class QueueUnreachable(SaudaError):  # noqa: N818  named for what it says, like the errors of the trading rules
    """Redis did not answer. It says nothing about what hangs in the queue."""

    code = "queue_unreachable"
