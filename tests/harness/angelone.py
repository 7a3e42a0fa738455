"""An Angel One client for tests: the real adapter and record, with time-outs that a test can wait for."""

from datetime import UTC, datetime
from decimal import Decimal

from app.brokers.angelone.adapter import AngelOneBroker
from app.brokers.base import AccountCredentials, BrokerRecord, BrokerSetup
from app.brokers.registry import broker_record
from app.core.accounts import AccountMode
from app.core.instruments import Exchange
from app.core.orders import OrderType, Product, Side, Validity
from app.core.ports import BrokerSession, Clock, PlaceRequest
from app.infra.clock import SystemClock, ist_day

CREDENTIALS = AccountCredentials(
    client_code="P1001", pin="pin-secret", totp_secret="JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", api_key="key-secret"
)
SESSION = BrokerSession(
    client_code="P1001",
    access_token="jwt-secret-1",
    refresh_token="refresh-secret-1",
    feed_token="feed-secret-1",
    expires_at=datetime(2026, 11, 22, tzinfo=UTC),
)


def place_request(
    *,
    side: Side = Side.BUY,
    quantity: int = 10,
    order_type: OrderType = OrderType.LIMIT,
    price: Decimal | None = Decimal("194.50"),
    trigger_price: Decimal | None = None,
    validity: Validity = Validity.DAY,
    trading_symbol: str = "SBIN-EQ",
    token: str = "3045",
    tag: str = "SDAAAAAAAAAAAAAAAA",
) -> PlaceRequest:
    """Return a request for SBIN with what a test wants to differ."""
    return PlaceRequest(
        exchange=Exchange.NSE,
        trading_symbol=trading_symbol,
        token=token,
        side=side,
        quantity=quantity,
        order_type=order_type,
        product=Product.MIS,
        validity=validity,
        price=price,
        trigger_price=trigger_price,
        tag=tag,
    )


def quick_record() -> BrokerRecord:
    """Return the real record with short time-outs."""
    record = broker_record("angelone")
    times = record.timeouts.model_copy(update={"connect_s": 0.5, "read_s": 0.3, "write_s": 0.3, "total_s": 0.8})
    return record.model_copy(update={"timeouts": times})


def angelone_broker(
    url: str,
    *,
    clock: Clock | None = None,
    record: BrokerRecord | None = None,
    mode: AccountMode = AccountMode.PAPER,
    credentials: AccountCredentials = CREDENTIALS,
) -> AngelOneBroker:
    """Return a client that talks to `url`."""
    return AngelOneBroker(
        BrokerSetup(
            record=record or quick_record(),
            mode=mode,
            base_url=url,
            credentials=credentials,
            clock=clock or SystemClock(),
            trade_date=lambda: ist_day(SystemClock().now()),
        )
    )
