"""The one session of each account: logged in by the keeper alone, kept encrypted, read by all."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from app.core.accounts import SessionState
from app.core.alerts import AlertKind, Severity
from app.core.errors import BrokerUnreadable, LoginRefused, PaperGuardError, SessionDead
from app.core.ports import Broker, BrokerSession, Clock, StoredTokens
from app.infra.backoff import backoff_s
from app.infra.crypto import Vault
from app.infra.logging import get_logger
from app.repositories.leases import Lease
from app.repositories.sessions import StoredSession
from app.repositories.unit_of_work import UnitOfWork

MAX_LOGIN_FAILURES = 3
"""Brokers lock accounts that hammer: after so many refusals a person must look."""

REFUSED_WAITS_S = (5.0, 30.0)
"""How long nobody tries again after the first refusal, and after the second."""

LOGIN_TIMEOUT_S = 10.0
CLAIM_S = LOGIN_TIMEOUT_S + 2.0
"""How long a claimed right to log in lasts: a keeper that dies while it tries holds the account up no longer."""

ALERT_AFTER_S = 30.0
UNREACHABLE_BASE_S = 0.2
UNREACHABLE_CAP_S = 5.0
TOTP_STEP_S = 30
TOTP_MARGIN_S = 1.0
ERROR_LENGTH_MAX = 300

Connect = Callable[[], Awaitable[Broker]]
"""Returns the account's client, ready to be logged in; whatever it raises counts as "not reachable"."""

log = get_logger(__name__)


class BrokerSessions:
    """Implements `core.ports.TokenStore`, and logs accounts in."""

    def __init__(
        self, *, uow: UnitOfWork, vault: Vault, clock: Clock, refused_waits_s: tuple[float, float] = REFUSED_WAITS_S
    ) -> None:
        self._uow = uow
        self._vault = vault
        self._clock = clock
        self._refused_waits_s = refused_waits_s
        self._unreachable: dict[UUID, int] = {}

    async def get(self, account_id: UUID) -> StoredTokens | None:
        """Return the account's live session, or None while it is not logged in."""
        async with self._uow.statement() as tx:
            stored = await tx.sessions.get(account_id)
        if stored is None or stored.state is not SessionState.LOGGED_IN:
            return None
        session = self._session_of(stored)
        return StoredTokens(session=session, version=stored.version) if session else None

    async def mark_dead(self, account_id: UUID, version: int) -> None:
        """Store that the broker called this login over; a report about an older one changes nothing."""
        async with self._uow.transaction() as tx:
            await tx.sessions.mark_expired(account_id, version=version)

    async def log_in_where_needed(self, account_id: UUID, connect: Connect, lease: Lease) -> bool:
        """Log in, or renew a session that ends soon; true when the account has a live session afterwards.

        The right to try is claimed in the database first, so that only one process does at a time. A broker that
        refuses is asked again after some time, and a third refusal ends in the state BROKEN, which a person ends.
        One that cannot be reached says nothing about the credentials: it is tried on, ever less often.
        Raises `LeaseLost` when another keeper leads.
        """
        async with self._uow.fenced(lease) as tx:
            claimed = await tx.sessions.claim_login(account_id, for_s=CLAIM_S)
        if claimed is None:
            return await self.get(account_id) is not None
        try:
            async with asyncio.timeout(LOGIN_TIMEOUT_S):
                session = await self._new_session(claimed, await connect())
        except LoginRefused as error:
            await self._note_refusal(claimed, lease, str(error), wait_s=self._wait_s(claimed, error))
            return False
        except PaperGuardError as error:
            await self._note_refusal(claimed, lease, str(error), wait_s=0.0, final=True)
            return False
        except Exception as error:  # noqa: BLE001  isolation point: whatever kept it from trying may pass
            await self._note_unreachable(account_id, lease, error)
            return False
        await self._save(account_id, session, lease)
        return True

    async def _new_session(self, claimed: StoredSession, broker: Broker) -> BrokerSession:
        """Renew the session as long as it has a life left, which needs no one-time code; else log in."""
        known = self._session_of(claimed) if claimed.tokens is not None else None
        if known is not None:
            try:
                return await broker.refresh(known)
            except SessionDead:
                log.info("broker.session.not_renewed", account_id=str(claimed.account_id))
        return await broker.login()

    async def _save(self, account_id: UUID, session: BrokerSession, lease: Lease) -> None:
        text = json.dumps({**asdict(session), "expires_at": session.expires_at.isoformat()})
        async with self._uow.fenced(lease) as tx:
            await tx.sessions.save_login(account_id, tokens=self._vault.encrypt(text), expires_at=session.expires_at)
            for kind in (AlertKind.LOGIN_FAILING, AlertKind.SESSION_BROKEN):
                await tx.alerts.close(kind, str(account_id))
        self._unreachable.pop(account_id, None)
        log.info("broker.login.done", account_id=str(account_id))

    async def _note_refusal(
        self, claimed: StoredSession, lease: Lease, error: str, *, wait_s: float, final: bool = False
    ) -> None:
        broken = final or claimed.failures + 1 >= MAX_LOGIN_FAILURES
        state = SessionState.BROKEN if broken else SessionState.LOGGED_OUT
        error = error[:ERROR_LENGTH_MAX]
        log.error("broker.login.refused", account_id=str(claimed.account_id), error=error, state=state)
        async with self._uow.fenced(lease) as tx:
            await tx.sessions.save_refusal(claimed.account_id, state=state, error=error, wait_s=wait_s)
            if broken:
                await tx.alerts.open(
                    AlertKind.SESSION_BROKEN,
                    str(claimed.account_id),
                    severity=Severity.CRITICAL,
                    message=f"the login is refused and not tried any more: {error}",
                    account_id=claimed.account_id,
                )

    async def _note_unreachable(self, account_id: UUID, lease: Lease, error: Exception) -> None:
        # Only what we wrote ourselves is repeated: the text of another error could hold anything.
        what = str(error) if isinstance(error, BrokerUnreadable) else type(error).__name__
        count = self._unreachable[account_id] = self._unreachable.get(account_id, 0) + 1
        if count == 1:
            log.warning("broker.login.unreachable", account_id=str(account_id), error=repr(error))
        wait_s = backoff_s(count, base_s=UNREACHABLE_BASE_S, cap_s=UNREACHABLE_CAP_S)
        if isinstance(error, BrokerUnreadable) and error.retry_after_s is not None:
            wait_s = max(wait_s, error.retry_after_s)
        async with self._uow.fenced(lease) as tx:
            without_s = await tx.sessions.save_unreachable(account_id, error=what[:ERROR_LENGTH_MAX], wait_s=wait_s)
            if without_s > ALERT_AFTER_S:
                await tx.alerts.open(
                    AlertKind.LOGIN_FAILING,
                    str(account_id),
                    severity=Severity.CRITICAL,
                    message=f"no login for {without_s:.0f} s: {what[:ERROR_LENGTH_MAX]}",
                    account_id=account_id,
                )

    def _wait_s(self, claimed: StoredSession, error: LoginRefused) -> float:
        wait_s = self._refused_waits_s[min(claimed.failures, len(self._refused_waits_s) - 1)]
        if error.configuration:
            return wait_s
        # Perhaps only the one-time code was too old or used up: the next one is another.
        return max(wait_s, TOTP_STEP_S - self._clock.now().timestamp() % TOTP_STEP_S + TOTP_MARGIN_S)

    def _session_of(self, stored: StoredSession) -> BrokerSession | None:
        """Return the stored session, None where its hour has come."""
        if stored.tokens is None or stored.expires_at is None or stored.expires_at <= self._clock.now():
            return None
        raw = json.loads(self._vault.decrypt(stored.tokens))
        return BrokerSession(**{**raw, "expires_at": datetime.fromisoformat(raw["expires_at"])})
