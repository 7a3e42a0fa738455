"""Knows whether the running task holds a database transaction open, so that no broker is called inside one."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_open: ContextVar[bool] = ContextVar("transaction_open", default=False)


def in_transaction() -> bool:
    """Whether the running task holds a database transaction open."""
    return _open.get()


@contextmanager
def transaction_marked_open() -> Iterator[None]:
    """Mark the running task as holding a transaction, until the block ends."""
    token = _open.set(True)
    try:
        yield
    finally:
        _open.reset(token)
