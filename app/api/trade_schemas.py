"""Fills and positions on the wire."""

from decimal import Decimal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.api.book_schemas import Doubt, Unrealized, doubt_of, value_of
from app.api.schemas import Moment, Rupees
from app.core.instruments import Instrument
from app.core.orders import Product, Side
from app.repositories.fills import RecordedFill
from app.repositories.positions import HeldPosition
from app.services.balances import Valued


class FillOut(BaseModel):
    """One trade."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "fill_id": "019a9c2e-7e10-7a3b-9d0c-5c1e2f3a4b5d",
                    "order_id": "019a9c2e-7d3a-7c11-8f52-3b6f0a4d9e21",
                    "account": "paper",
                    "instrument": "NSE:YESBANK",
                    "product": "MIS",
                    "side": "BUY",
                    "quantity": 10,
                    "price": "182.65",
                    "fees": "1.86",
                    "trade_id": "1",
                    "broker_order_id": "190101000000001",
                    "traded_at": "2019-01-01T09:16:00+05:30",
                    "recorded_at": "2019-01-01T09:16:00.151001+05:30",
                }
            ]
        }
    )

    fill_id: UUID
    order_id: UUID
    account: str
    instrument: str
    product: Product
    side: Side
    quantity: int
    price: Rupees
    fees: Rupees
    trade_id: str
    broker_order_id: str
    traded_at: Moment
    recorded_at: Moment

    @classmethod
    def of(cls, fill: RecordedFill, *, account: str, instrument: Instrument) -> "FillOut":
        """Return the wire form of a fill."""
        return cls(
            fill_id=fill.id,
            order_id=fill.order_id,
            account=account,
            instrument=instrument.key,
            product=fill.product,
            side=fill.side,
            quantity=fill.quantity,
            price=fill.price,
            fees=fill.fees,
            trade_id=fill.trade_id,
            broker_order_id=fill.broker_order_id,
            traded_at=fill.traded_at,
            recorded_at=fill.recorded_at,
        )


class FillPage(BaseModel):
    """Fills, newest first. Ask again with `cursor=next_cursor` for older ones."""

    items: list[FillOut]
    next_cursor: UUID | None


class PositionOut(BaseModel):
    """What one strategy, or the account's people, hold of an instrument in a product."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "account": "paper",
                    "strategy_id": "019a9c2e-6f01-7b55-8c1d-2a7e9d4b6c30",
                    "instrument": "NSE:YESBANK",
                    "product": "MIS",
                    "quantity": 10,
                    "average_price": "182.6500",
                    "last_price": "182.90",
                    "realized_pnl": "0.00",
                    "unrealized_pnl": "2.50",
                    "unrealized_doubt": None,
                    "fees": "1.86",
                    "buy_quantity": 10,
                    "sell_quantity": 0,
                    "updated_at": "2019-01-01T09:16:00.151001+05:30",
                }
            ]
        }
    )

    account: str
    strategy_id: UUID | None
    instrument: str
    product: Product
    quantity: int = Field(description="Signed units: negative is short")
    average_price: Rupees | None
    last_price: Rupees | None = Field(description="null where it is not known or older than the market")
    realized_pnl: Rupees = Field(description="Before fees")
    unrealized_pnl: Unrealized
    unrealized_doubt: Doubt = None
    fees: Rupees
    buy_quantity: int
    sell_quantity: int
    updated_at: Moment

    @classmethod
    def of(cls, held: HeldPosition, valued: Valued, *, account: str, instrument: Instrument) -> "PositionOut":
        """Return the wire form of a position."""
        position = held.position
        average = position.average_price
        return cls(
            account=account,
            strategy_id=held.key.strategy_id,
            instrument=instrument.key,
            product=held.key.product,
            quantity=position.quantity,
            average_price=average.quantize(Decimal("0.0001")) if average is not None else None,
            last_price=valued.last_price,
            realized_pnl=position.realized_pnl.quantize(Decimal("0.01")),
            unrealized_pnl=value_of(valued.unrealized_pnl),
            unrealized_doubt=doubt_of(valued.unrealized_pnl),
            fees=position.fees.quantize(Decimal("0.01")),
            buy_quantity=position.buy_quantity,
            sell_quantity=position.sell_quantity,
            updated_at=held.updated_at,
        )


class PositionList(BaseModel):
    """Positions, those changed last first."""

    items: list[PositionOut]
