"""API tokens: given for a password, checked on every request."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

import jwt

from app.core.ports import Clock
from app.infra.crypto import Passwords, derive_key
from app.repositories.unit_of_work import UnitOfWork

ALGORITHM = "HS256"
ISSUER = "sauda"
CHECKS_AT_ONCE = 2
"""A password check takes 64 MB and tens of milliseconds on purpose: more of them at once would crowd out orders."""


class NotAuthenticated(Exception):
    """No valid token, or a wrong name or password. The message says which, and nothing more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks."""

    username: str
    role: str


class TokenService:
    """Issues and verifies tokens. The signing key is derived from the one secret in the environment."""

    def __init__(self, *, uow: UnitOfWork, passwords: Passwords, secret: str, ttl_minutes: int, clock: Clock) -> None:
        self._uow = uow
        self._passwords = passwords
        self._key = derive_key(secret, "sauda/token/v1")
        self._ttl = timedelta(minutes=ttl_minutes)
        self._clock = clock
        self._checking = asyncio.Semaphore(CHECKS_AT_ONCE)

    async def issue(self, username: str, password: str) -> tuple[str, datetime]:
        """Return a token and when it ends; raises `NotAuthenticated`."""
        async with self._uow.statement() as tx:
            user = await tx.users.by_username(username)
        async with self._checking:
            fits = await asyncio.to_thread(self._passwords.verify, user.password_hash if user else None, password)
        if user is None or not fits or user.disabled:
            raise NotAuthenticated("wrong username or password")
        expires_at = self._clock.now() + self._ttl
        claims = {"iss": ISSUER, "sub": user.username, "role": user.role, "exp": expires_at}
        return jwt.encode(claims, self._key, algorithm=ALGORITHM), expires_at

    def verify(self, token: str) -> Caller:
        """Return who holds the token; raises `NotAuthenticated`."""
        try:
            claims = jwt.decode(
                token, self._key, algorithms=[ALGORITHM], issuer=ISSUER, options={"require": ["exp", "sub", "iss"]}
            )
        except jwt.ExpiredSignatureError as error:
            raise NotAuthenticated("the token has expired: get a new one at /api/v1/auth/token") from error
        except jwt.InvalidTokenError as error:
            raise NotAuthenticated("the token is not valid: get one at /api/v1/auth/token") from error
        return Caller(username=str(claims["sub"]), role=str(claims.get("role", "")))
