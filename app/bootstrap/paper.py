"""The paper market's side: its control client, its accounts, replays."""

from app.bootstrap.foundation import Foundation
from app.infra.config import Config
from app.market_data.paper_market import PaperMarket
from app.services.paper_accounts import PaperAccounts
from app.services.replays import ReplayService


def paper_market(config: Config) -> PaperMarket:
    """Return the control client of the paper exchange."""
    return PaperMarket(config.exchange_url, config.exchange_control_key.get_secret_value())


def paper_accounts(base: Foundation, market: PaperMarket) -> PaperAccounts:
    """Return the service that makes paper accounts."""
    return PaperAccounts(uow=base.uow, vault=base.vault, market=market)


def replay_service(base: Foundation, market: PaperMarket) -> ReplayService:
    """Return the service that requests replays."""
    return ReplayService(uow=base.uow, accounts=paper_accounts(base, market), market=market, bell=base.bell)
