"""What goes over the wire. Money is text, times carry the Indian offset, unknown fields are refused."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer

from app.core.instruments import Instrument
from app.core.orders import Order, OrderStatus, OrderType, Product, Side, Urgency, Validity
from app.infra.clock import IST
from app.repositories.fills import RecordedFill
from app.repositories.orders import TimelineEvent
from app.repositories.positions import HeldPosition

Moment = Annotated[
    datetime,
    PlainSerializer(lambda value: value.astimezone(IST).isoformat(), return_type=str),
    Field(examples=["2019-01-01T09:16:00+05:30"]),
]
Rupees = Annotated[
    Decimal, PlainSerializer(lambda value: format(value, "f"), return_type=str), Field(examples=["182.65"])
]
PriceIn = Annotated[Decimal, Field(gt=0, max_digits=14, decimal_places=4, allow_inf_nan=False, examples=["182.65"])]


class OrderIn(BaseModel):
    """A new order."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "account": "paper",
                    "instrument": "NSE:YESBANK",
                    "side": "BUY",
                    "quantity": 10,
                    "order_type": "LIMIT",
                    "price": "182.65",
                    "product": "MIS",
                }
            ]
        },
    )

    account: str = Field(min_length=1, max_length=64, description="Name of the broker account", examples=["paper"])
    instrument: str = Field(min_length=3, max_length=64, examples=["NSE:YESBANK"])
    side: Side
    quantity: int = Field(gt=0, strict=True, description="Units, a multiple of the lot size")
    order_type: OrderType
    product: Product
    validity: Validity = Validity.DAY
    urgency: Urgency = Field(default=Urgency.NORMAL, description="All but NORMAL use the priority lane")
    price: PriceIn | None = Field(default=None, description="Limit in rupees, for LIMIT and SL")
    trigger_price: PriceIn | None = Field(default=None, description="Trigger in rupees, for SL and SL-M")
    deadline: AwareDatetime | None = Field(
        default=None, description="Market time after which the order must not be sent any more", examples=[None]
    )
    client_order_id: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9._:-]{1,64}$", description="Your own id, unique in the account"
    )


class OrderAccepted(BaseModel):
    """The order is saved and will be sent once. Its state is at `GET /api/v1/orders/{order_id}`."""

    order_id: UUID
    client_order_id: str
    account: str
    instrument: str
    status: OrderStatus
    tag: str = Field(description="The mark that the order carries at the broker")
    received_at: Moment


class StagesOut(BaseModel):
    """When the order passed each stage; null for a stage not reached."""

    received: Moment
    saved: Moment | None
    rung: Moment | None
    claimed: Moment | None
    sent: Moment | None
    acknowledged: Moment | None
    first_fill: Moment | None
    done: Moment | None


class OrderOut(BaseModel):
    """An order as it stands."""

    order_id: UUID
    client_order_id: str
    account: str
    instrument: str
    side: Side
    quantity: int
    filled_quantity: int
    average_price: Rupees | None
    order_type: OrderType
    product: Product
    validity: Validity
    urgency: Urgency
    price: Rupees | None
    trigger_price: Rupees | None
    deadline: Moment | None
    status: OrderStatus
    status_reason: str | None
    tag: str
    broker_order_id: str | None
    strategy_id: UUID | None
    trading_day: date
    market_time: Moment
    stages: StagesOut

    @classmethod
    def of(cls, order: Order, *, account: str, instrument: Instrument) -> "OrderOut":
        """Return the wire form of an order."""
        intent = order.intent
        stages = order.stages
        return cls(
            order_id=order.id,
            client_order_id=intent.client_order_id,
            account=account,
            instrument=instrument.key,
            side=intent.side,
            quantity=intent.quantity,
            filled_quantity=order.filled_quantity,
            average_price=order.average_price,
            order_type=intent.order_type,
            product=intent.product,
            validity=intent.validity,
            urgency=intent.urgency,
            price=intent.price,
            trigger_price=intent.trigger_price,
            deadline=intent.deadline,
            status=order.status,
            status_reason=order.status_reason,
            tag=order.tag,
            broker_order_id=order.broker_order_id,
            strategy_id=intent.strategy_id,
            trading_day=order.trading_day,
            market_time=order.market_time,
            stages=StagesOut(
                received=stages.received,
                saved=stages.saved,
                rung=stages.rung,
                claimed=stages.claimed,
                sent=stages.sent,
                acknowledged=stages.acknowledged,
                first_fill=stages.first_fill,
                done=stages.done,
            ),
        )


class EventOut(BaseModel):
    """One recorded event of an order."""

    at: Moment
    event: str
    status: OrderStatus
    actor: str
    detail: dict[str, str]

    @classmethod
    def of(cls, event: TimelineEvent) -> "EventOut":
        """Return the wire form of an event."""
        return cls(at=event.at, event=event.event, status=event.status, actor=event.actor, detail=event.detail)


class OrderDetail(OrderOut):
    """An order with everything that happened to it, oldest first."""

    events: list[EventOut]


class OrderPage(BaseModel):
    """Orders, newest first. Ask again with `cursor=next_cursor` for older ones."""

    items: list[OrderOut]
    next_cursor: UUID | None


class FillOut(BaseModel):
    """One trade."""

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

    account: str
    strategy_id: UUID | None
    instrument: str
    product: Product
    quantity: int = Field(description="Signed units: negative is short")
    average_price: Rupees | None
    realized_pnl: Rupees = Field(description="Before fees")
    fees: Rupees
    buy_quantity: int
    sell_quantity: int
    updated_at: Moment

    @classmethod
    def of(cls, held: HeldPosition, *, account: str, instrument: Instrument) -> "PositionOut":
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
            realized_pnl=position.realized_pnl.quantize(Decimal("0.01")),
            fees=position.fees.quantize(Decimal("0.01")),
            buy_quantity=position.buy_quantity,
            sell_quantity=position.sell_quantity,
            updated_at=held.updated_at,
        )


class PositionList(BaseModel):
    """Positions, those changed last first."""

    items: list[PositionOut]


class Credentials(BaseModel):
    """A user's name and password."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"username": "admin", "password": "the one shown at set-up"}]}
    )

    username: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=256)


class Token(BaseModel):
    """A token for the Authorization header: `Bearer <access_token>`."""

    access_token: str
    token_type: str = Field(examples=["bearer"])
    expires_at: Moment


class Health(BaseModel):
    """How this process and what it leans on are."""

    status: str = Field(examples=["ok"])
    components: dict[str, str] = Field(examples=[{"database": "ok", "redis": "ok"}])
