"""The brokers of this process: one guarded client an account, made when it is first needed."""

import json
from datetime import date
from uuid import UUID

from app.brokers.base import AccountCredentials
from app.brokers.governor import Budget, Governor
from app.brokers.guarded import GuardedBroker
from app.brokers.limits import write_limits
from app.brokers.registry import build_broker
from app.core.accounts import Account, AccountMode
from app.core.ports import Clock, TokenStore
from app.infra.clock import ist_day
from app.infra.crypto import Vault
from app.repositories.accounts import StoredAccount
from app.repositories.unit_of_work import UnitOfWork
from app.services.breaker_alerts import BreakerAlerts


class UnknownAccount(LookupError):
    """The account does not exist (any more)."""


class BrokerPool:
    """Builds and keeps guarded brokers."""

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        vault: Vault,
        tokens: TokenStore,
        governor: Governor,
        clock: Clock,
        paper_url: str,
    ) -> None:
        self._uow = uow
        self._vault = vault
        self._tokens = tokens
        self._governor = governor
        self._clock = clock
        self._paper_url = paper_url
        self._brokers: dict[UUID, GuardedBroker] = {}
        self._trading_days: dict[UUID, date] = {}

    async def get(self, account_id: UUID) -> GuardedBroker:
        """Return the account's broker; raises `UnknownAccount` and what the paper guard raises."""
        guarded = self._brokers.get(account_id)
        if guarded is None:
            async with self._uow.statement() as tx:
                stored = await tx.accounts.stored(account_id)
            if stored is None:
                raise UnknownAccount(str(account_id))
            guarded = self._brokers.setdefault(account_id, self._build(stored))
        return guarded

    def set_trading_day(self, account_id: UUID, day: date) -> None:
        """Tell which exchange day the account's trade rows belong to: they carry a time only."""
        self._trading_days[account_id] = day

    async def close(self) -> None:
        """Close all connections."""
        for guarded in self._brokers.values():
            await guarded.broker.close()

    def _build(self, stored: StoredAccount) -> GuardedBroker:
        account = stored.account
        broker = build_broker(
            account.broker,
            mode=account.mode,
            base_url=self._base_url(account, stored.base_url),
            credentials=AccountCredentials(**json.loads(self._vault.decrypt(stored.credentials))),
            clock=self._clock,
            trade_date=lambda: self._trading_days.get(account.id) or ist_day(self._clock.now()),
        )
        return GuardedBroker(
            broker,
            account_id=account.id,
            budget=Budget.of(account, write_limits(account, broker.record)),
            tokens=self._tokens,
            governor=self._governor,
            clock=self._clock,
            on_breaker=BreakerAlerts(self._uow, account).note,
            reads=broker.record.limits if account.mode is AccountMode.LIVE else None,
        )

    def _base_url(self, account: Account, stored_url: str | None) -> str:
        # A paper account follows its exchange, wherever that listens in this installation.
        if account.mode is AccountMode.PAPER:
            return self._paper_url
        return stored_url or ""
