"""The PostgreSQL engine, and what its errors mean."""

import asyncio

from sqlalchemy.exc import DBAPIError, InterfaceError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 15.0
"""The client's bound on a statement; the server's own (ALTER ROLE, set by the migrations) is shorter."""
POOL_WAIT_S = 5.0
POOL_RECYCLE_S = 1800

_NOT_NOW = ("57P", "08", "53", "55P03", "57014", "40P01", "40001")
"""57P0x: the server is shutting down or starting; 08xxx: the connection broke; 53300: too many of them. And where
another session is in the way: a lock not had in time, a statement that took too long, a deadlock, a lost race."""

DATABASE_ERRORS: tuple[type[Exception], ...] = (OSError, SQLAlchemyError)
"""What a statement can raise; `is_database_away` tells which of them mean "not now"."""


def build_engine(url: str, *, pool_size: int = 10) -> AsyncEngine:
    """Return an engine with a bounded pool. Nothing connects until the first statement."""
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_S,
        pool_use_lifo=True,  # the connection used last has its statements prepared and its caches warm
        pool_recycle=POOL_RECYCLE_S,
        hide_parameters=True,  # an error's text may be logged, and parameters hold hashes and cipher text
        connect_args={"timeout": CONNECT_TIMEOUT_S, "command_timeout": COMMAND_TIMEOUT_S},
    )


def is_database_away(error: BaseException) -> bool:
    """Whether an error means that the database cannot be reached or cannot serve now, so that trying later helps."""
    # No free connection: all of them hang on a database that does not answer, or there is more work than they can do.
    if isinstance(error, (OSError, asyncio.TimeoutError, InterfaceError, NoFreeConnection)):
        return True
    if isinstance(error, DBAPIError):
        code = getattr(error.orig, "sqlstate", None) or ""
        return error.connection_invalidated or code.startswith(_NOT_NOW)
    return False
