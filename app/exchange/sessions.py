"""Sessions: tokens of logged-in clients, kept in the ledger so that they outlive the process."""

import secrets
from dataclasses import dataclass
from datetime import datetime

from app.exchange.exchange_time import next_midnight
from app.exchange.ledger import Ledger

SESSIONS_PER_CLIENT_MAX = 20
"""The oldest session of a client is forgotten past this, as nobody logs out of a test."""


@dataclass(slots=True, kw_only=True)
class Session:
    """One login. The access token can die before the refresh token does, which lasts until midnight IST."""

    client_code: str
    access_token: str
    refresh_token: str
    feed_token: str
    access_expires_at: datetime
    expires_at: datetime


class Sessions:
    """All sessions, by access token and by refresh token."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._by_access: dict[str, Session] = {}
        for row in ledger.read("SELECT * FROM sessions ORDER BY rowid"):
            session = Session(
                client_code=row["client_code"],
                access_token=row["access_token"],
                refresh_token=row["refresh_token"],
                feed_token=row["feed_token"],
                access_expires_at=datetime.fromisoformat(row["access_expires_at"]),
                expires_at=datetime.fromisoformat(row["expires_at"]),
            )
            self._by_access[session.access_token] = session

    def open(self, client_code: str, now: datetime) -> Session:
        """Begin a session that lasts until midnight IST."""
        midnight = next_midnight(now)
        session = Session(
            client_code=client_code,
            access_token=_token(),
            refresh_token=_token(),
            feed_token=_token(),
            access_expires_at=midnight,
            expires_at=midnight,
        )
        self._drop_old_ones(client_code, now)
        with self._ledger.transaction() as db:
            db.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?)",
                (
                    session.access_token,
                    session.refresh_token,
                    session.feed_token,
                    client_code,
                    session.access_expires_at.isoformat(),
                    session.expires_at.isoformat(),
                ),
            )
        self._by_access[session.access_token] = session
        return session

    def by_access_token(self, token: str) -> Session | None:
        """Return the session of an access token, whether or not it has expired, or None."""
        return self._by_access.get(token)

    def by_refresh_token(self, token: str) -> Session | None:
        """Return the session of a refresh token, whether or not it has expired, or None."""
        return next((s for s in self._by_access.values() if s.refresh_token == token), None)

    def expire(self, session: Session, now: datetime) -> None:
        """Let the access token die early; the refresh token lives on."""
        session.access_expires_at = now
        with self._ledger.transaction() as db:
            db.execute(
                "UPDATE sessions SET access_expires_at = ? WHERE access_token = ?",
                (now.isoformat(), session.access_token),
            )

    def close(self, session: Session) -> None:
        """End a session for good."""
        self._by_access.pop(session.access_token, None)
        with self._ledger.transaction() as db:
            db.execute("DELETE FROM sessions WHERE access_token = ?", (session.access_token,))

    def _drop_old_ones(self, client_code: str, now: datetime) -> None:
        own = [session for session in self._by_access.values() if session.client_code == client_code]
        surplus = max(0, len(own) - SESSIONS_PER_CLIENT_MAX + 1)
        ended = [session for session in own if session.expires_at <= now]
        for session in {s.access_token: s for s in own[:surplus] + ended}.values():
            self.close(session)


def _token() -> str:
    """Return a random token in the shape of a JWT: clients must not read anything out of it."""
    return f"{secrets.token_urlsafe(24)}.{secrets.token_urlsafe(96)}.{secrets.token_urlsafe(48)}"
