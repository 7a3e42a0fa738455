"""What can go wrong with the queue itself."""

from app.core.errors import SaudaError


class QueueUnreachable(SaudaError):
    """Redis did not answer. It says nothing about what hangs in the queue."""

    code = "queue_unreachable"
