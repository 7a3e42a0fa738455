"""The exchange role: it shares neither our PostgreSQL nor our Redis."""

import asyncio

from app.exchange.instruments import read_instruments
from app.exchange.server import serve
from app.exchange.settings import ExchangeSettings
from app.infra.config import PROJECT_ROOT, Config
from app.infra.fee_schedules import load_fee_schedules

INSTRUMENTS = PROJECT_ROOT / "data" / "sample" / "instruments.csv"
FEES_OF = "angelone"
"""The exchange charges what the broker whose wire it speaks charges."""


async def run(config: Config, stop: asyncio.Event) -> None:
    """Run the paper exchange until the stop."""
    await serve(exchange_settings(config), stop)


def exchange_settings(config: Config) -> ExchangeSettings:
    """Return what the paper exchange needs."""
    folder = config.data_dir / "exchange"
    folder.mkdir(parents=True, exist_ok=True)
    return ExchangeSettings(
        host=config.exchange_host,
        port=config.exchange_port,
        control_key=config.exchange_control_key.get_secret_value(),
        ledger_path=folder / "ledger.sqlite3",
        instruments=read_instruments(INSTRUMENTS),
        fee_schedules=load_fee_schedules(FEES_OF),
    )
