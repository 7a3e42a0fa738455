"""Paper accounts: made with credentials of their own, and opened at the paper exchange before their first login."""

import json
import secrets
from dataclasses import asdict
from decimal import Decimal
from uuid import UUID

import pyotp

from app.brokers.base import AccountCredentials
from app.core.accounts import Account, AccountMode, AccountStatus
from app.core.balances import Opening
from app.infra.crypto import Vault
from app.infra.ids import new_id
from app.market_data.paper_market import PaperMarket
from app.repositories.accounts import StoredAccount
from app.repositories.unit_of_work import Transaction, UnitOfWork

PAPER_BROKER = "angelone"
START_CASH = Decimal(1_000_000)
"""Ten lakh rupees of play money."""

OPENING = Opening(cash=START_CASH, flow_before=Decimal(0))
ORDERS_PER_SECOND = 9
"""What the broker allows a client code."""


class PaperAccounts:
    """Makes and opens paper accounts."""

    def __init__(self, *, uow: UnitOfWork, vault: Vault, market: PaperMarket) -> None:
        self._uow = uow
        self._vault = vault
        self._market = market

    async def add(
        self,
        tx: Transaction,
        *,
        name: str,
        market_source: str,
        broker: str = PAPER_BROKER,
        orders_per_second: int = ORDERS_PER_SECOND,
    ) -> Account:
        """Store a new paper account; its name must be new."""
        credentials = AccountCredentials(
            client_code="P" + "".join(secrets.choice("0123456789") for _ in range(9)),
            pin="".join(secrets.choice("0123456789") for _ in range(4)),
            totp_secret=pyotp.random_base32(),
            api_key=secrets.token_urlsafe(9),
        )
        account = Account(
            id=new_id(),
            name=name,
            broker=broker,
            mode=AccountMode.PAPER,
            status=AccountStatus.ACTIVE,
            client_code=credentials.client_code,
            market_source=market_source,
            orders_per_second=orders_per_second,
        )
        sealed = self._vault.encrypt(json.dumps(asdict(credentials)))
        await tx.accounts.add(StoredAccount(account=account, credentials=sealed, base_url=None))
        await tx.balances.open(account.id, OPENING)
        return account

    async def open_at_exchange(self, account_id: UUID) -> None:
        """Open the account at the paper exchange, where it is not open yet. Raises `PaperMarketError`."""
        async with self._uow.statement() as tx:
            stored = await tx.accounts.stored(account_id)
            if stored is None or stored.account.broker != PAPER_BROKER:
                return
            # Also for an account of before there were balances: all its fills count from the opening on.
            await tx.balances.open(account_id, OPENING)
        credentials = AccountCredentials(**json.loads(self._vault.decrypt(stored.credentials)))
        await self._market.register_account(
            client_code=credentials.client_code,
            pin=credentials.pin,
            totp_secret=credentials.totp_secret,
            api_key=credentials.api_key,
            cash=START_CASH,
        )
