"""People, broker accounts and the broker's sessions."""

from sqlalchemy import CheckConstraint, ForeignKey, SmallInteger, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from app.core.accounts import AccountMode, AccountStatus, BlockReason, SessionState
from app.models.base import Base, Id, Moment, one_of


class UserRow(Base):
    """A person who may use the API."""

    __tablename__ = "users"
    id: Mapped[Id] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    role: Mapped[str]
    created_at: Mapped[Moment] = mapped_column(server_default=func.now())
    disabled_at: Mapped[Moment | None]
    __table_args__ = (CheckConstraint("role IN ('ADMIN')", name="role"),)


class BrokerAccountRow(Base):
    """An account at a broker. The mode never changes: a trigger refuses it."""

    __tablename__ = "broker_accounts"
    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    broker: Mapped[str]
    mode: Mapped[str]
    status: Mapped[str]
    client_code: Mapped[str]
    credentials: Mapped[bytes]
    base_url: Mapped[str | None]
    market_source: Mapped[str]
    orders_per_second: Mapped[int] = mapped_column(SmallInteger)
    orders_per_minute: Mapped[int | None]
    orders_per_hour: Mapped[int | None]
    created_at: Mapped[Moment] = mapped_column(server_default=func.now())
    __table_args__ = (
        one_of("mode", AccountMode),
        one_of("status", AccountStatus),
        UniqueConstraint("broker", "mode", "client_code"),
        CheckConstraint("orders_per_second > 0", name="orders_per_second"),
        CheckConstraint("orders_per_minute > 0", name="orders_per_minute"),
        CheckConstraint("orders_per_hour > 0", name="orders_per_hour"),
    )


class AccountBlockRow(Base):
    """Why an account takes no new entries at present. Exits and cancels go on."""

    __tablename__ = "account_blocks"
    account_id: Mapped[Id] = mapped_column(ForeignKey("broker_accounts.id"), primary_key=True)
    reason: Mapped[str] = mapped_column(primary_key=True)
    detail: Mapped[str]
    since: Mapped[Moment] = mapped_column(server_default=func.clock_timestamp())
    __table_args__ = (one_of("reason", BlockReason),)


class BrokerSessionRow(Base):
    """The one session of an account. `version` grows with every login: a late report about an old one is void."""

    __tablename__ = "broker_sessions"
    account_id: Mapped[Id] = mapped_column(ForeignKey("broker_accounts.id"), primary_key=True)
    state: Mapped[str]
    version: Mapped[int]
    tokens: Mapped[bytes | None]
    expires_at: Mapped[Moment | None]
    failures: Mapped[int] = mapped_column(SmallInteger)
    next_login_at: Mapped[Moment | None]
    last_error: Mapped[str | None]
    updated_at: Mapped[Moment] = mapped_column(server_default=func.now())
    __table_args__ = (one_of("state", SessionState),)
