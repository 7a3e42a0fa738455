"""New identities."""

from uuid import UUID

import uuid_utils.compat


def new_id() -> UUID:
    """Return a UUIDv7: unique, and sorted by the time at which it was made."""
    return uuid_utils.compat.uuid7()
