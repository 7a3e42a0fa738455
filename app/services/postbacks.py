"""Postbacks: what a broker's server calls us with. Unsigned, so each is a hint to read the books, never a fact."""

from app.infra.events import EventBell
from app.services.account_directory import AccountDirectory

ONCE_IN_MS = 500
"""Hints of one account that are passed on at most; the keeper's read covers what came in between."""


class Postbacks:
    """Passes hints on to the keeper: once in half a second an account, however many come."""

    def __init__(self, *, accounts: AccountDirectory, bell: EventBell) -> None:
        self._accounts = accounts
        self._bell = bell

    async def take(self, *, broker: str, client_code: str) -> None:
        """Hint at the client's accounts. Who is not a client of ours is not told so."""
        for account in await self._accounts.of_client(broker, client_code):
            await self._bell.hint(str(account.id), once_in_ms=ONCE_IN_MS)
