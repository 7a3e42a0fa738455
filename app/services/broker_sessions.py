"""The one session of each account: logged in by the keeper alone, kept encrypted, read by all."""

import json
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from app.core.accounts import SessionState
from app.core.errors import BrokerUnreadable, LoginRefused, PaperGuardError
from app.core.ports import Broker, BrokerSession, Clock, StoredTokens
from app.infra.crypto import Vault
from app.infra.logging import get_logger
from app.repositories.leases import Lease
from app.repositories.sessions import StoredSession
from app.repositories.unit_of_work import UnitOfWork

MAX_LOGIN_FAILURES = 3
"""Brokers lock accounts that hammer: after so many refusals a person must look."""

log = get_logger(__name__)


class BrokerSessions:
    """Implements `core.ports.TokenStore`, and logs accounts in."""

    def __init__(self, *, uow: UnitOfWork, vault: Vault, clock: Clock) -> None:
        self._uow = uow
        self._vault = vault
        self._clock = clock

    async def get(self, account_id: UUID) -> StoredTokens | None:
        """Return the account's live session, or None while it is not logged in."""
        async with self._uow.statement() as tx:
            stored = await tx.sessions.get(account_id)
        if stored is None or not self._is_live(stored) or stored.tokens is None:
            return None
        raw = json.loads(self._vault.decrypt(stored.tokens))
        session = BrokerSession(**{**raw, "expires_at": datetime.fromisoformat(raw["expires_at"])})
        return StoredTokens(session=session, version=stored.version)

    async def mark_dead(self, account_id: UUID, version: int) -> None:
        """Store that the broker called this login over; a report about an older one changes nothing."""
        async with self._uow.transaction() as tx:
            await tx.sessions.mark_expired(account_id, version=version)

    async def is_broken(self, account_id: UUID) -> bool:
        """Whether the broker refused the account's logins until we stopped: only a person tries again."""
        async with self._uow.statement() as tx:
            stored = await tx.sessions.get(account_id)
        return stored is not None and stored.state is SessionState.BROKEN

    async def log_in_where_needed(self, account_id: UUID, broker: Broker, lease: Lease) -> bool:
        """Log in unless the account has a live session; true when it has one afterwards.

        Wrong credentials end in the state BROKEN after a bounded number of tries, and stay there for a person.
        """
        async with self._uow.statement() as tx:
            stored = await tx.sessions.get(account_id)
        if stored is not None and self._is_live(stored):
            return True
        if stored is not None and stored.state is SessionState.BROKEN:
            return False
        failures = stored.failures if stored else 0
        try:
            session = await broker.login()
        except LoginRefused as error:
            await self._note_failure(account_id, lease, error=str(error), last=failures + 1 >= MAX_LOGIN_FAILURES)
            return False
        except PaperGuardError as error:
            await self._note_failure(account_id, lease, error=str(error), last=True)
            return False
        except BrokerUnreadable as error:
            # Nothing says that the credentials are wrong: the broker is away, and the next turn tries again.
            log.warning("broker.login.unreachable", account_id=str(account_id), error=str(error))
            return False
        text = json.dumps({**asdict(session), "expires_at": session.expires_at.isoformat()})
        async with self._uow.fenced(lease) as tx:
            await tx.sessions.save_login(account_id, tokens=self._vault.encrypt(text), expires_at=session.expires_at)
        log.info("broker.login.done", account_id=str(account_id))
        return True

    def _is_live(self, stored: StoredSession) -> bool:
        return (
            stored.state is SessionState.LOGGED_IN
            and stored.expires_at is not None
            and stored.expires_at > self._clock.now()
        )

    async def _note_failure(self, account_id: UUID, lease: Lease, *, error: str, last: bool) -> None:
        state = SessionState.BROKEN if last else SessionState.LOGGED_OUT
        log.error("broker.login.refused", account_id=str(account_id), error=error, state=state)
        async with self._uow.fenced(lease) as tx:
            await tx.sessions.save_failure(account_id, state=state, error=error)
