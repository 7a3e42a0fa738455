"""People who may use the API."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.models import UserRow


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user. `password_hash` never leaves the service that verifies it."""

    id: UUID
    username: str
    password_hash: str
    role: str
    disabled: bool


class UserRepository:
    """SQL of the users table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def by_username(self, username: str) -> User | None:
        """Return the user of that name."""
        query = select(UserRow.__table__).where(UserRow.username == username)
        row = (await self._connection.execute(query)).mappings().first()
        if row is None:
            return None
        return User(
            id=row["id"],
            username=row["username"],
            password_hash=row["password_hash"],
            role=row["role"],
            disabled=row["disabled_at"] is not None,
        )

    async def count(self) -> int:
        """Return how many users there are."""
        return (await self._connection.execute(select(func.count()).select_from(UserRow))).scalar_one()

    async def add(self, user: User) -> None:
        """Insert a user; the name must be new."""
        await self._connection.execute(
            insert(UserRow).values(id=user.id, username=user.username, password_hash=user.password_hash, role=user.role)
        )

    async def set_password(self, username: str, password_hash: str) -> bool:
        """Replace a password; false where the user does not exist."""
        statement = update(UserRow).where(UserRow.username == username).values(password_hash=password_hash)
        return (await self._connection.execute(statement)).rowcount == 1
