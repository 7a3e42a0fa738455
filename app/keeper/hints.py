"""Hints that an account's orders have changed: unsigned, so they only make the keeper look sooner than it would."""

from uuid import UUID

HINTS_MAX = 10_000


class Hints:
    """Keeps the accounts that were hinted at until the next look. What is no account id is not kept."""

    def __init__(self) -> None:
        self._accounts: set[UUID] = set()

    def hear(self, payload: bytes) -> None:
        """Take a message of the channel."""
        try:
            account_id = UUID(payload.decode("ascii"))
        except ValueError:
            return
        if len(self._accounts) < HINTS_MAX:
            self._accounts.add(account_id)

    def take(self) -> set[UUID]:
        """Return the accounts hinted at since the last time."""
        taken, self._accounts = self._accounts, set()
        return taken
