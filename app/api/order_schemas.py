"""Orders on the wire."""

from datetime import date
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from app.api.schemas import Moment, PriceIn, Rupees
from app.core.instruments import Instrument
from app.core.orders import Order, OrderOrigin, OrderStatus, OrderType, Product, Purpose, Side, Urgency, Validity
from app.repositories.orders import TimelineEvent


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
    urgency: Urgency | None = Field(
        default=None,
        description="All but NORMAL use the priority lane. Not given: HIGH for an EXIT, NORMAL for an ENTRY",
        examples=["NORMAL"],
    )
    purpose: Purpose = Field(
        default=Purpose.ENTRY, description="EXIT only reduces a position; it is let through where entries are refused"
    )
    price: PriceIn | None = Field(default=None, description="Limit in rupees, for LIMIT and SL")
    trigger_price: PriceIn | None = Field(default=None, description="Trigger in rupees, for SL and SL-M")
    deadline: AwareDatetime | None = Field(
        default=None, description="Market time after which the order must not be sent any more", examples=[None]
    )
    client_order_id: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9._:-]{1,64}$", description="Your own id, unique in the account"
    )

    @model_validator(mode="after")
    def _usual_urgency(self) -> "OrderIn":
        if self.urgency is None:
            self.urgency = Urgency.HIGH if self.purpose is Purpose.EXIT else Urgency.NORMAL
        return self


class OrderAccepted(BaseModel):
    """The order is saved and will be sent once. Its state is at `GET /api/v1/orders/{order_id}`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "order_id": "019a9c2e-7d3a-7c11-8f52-3b6f0a4d9e21",
                    "client_order_id": "c0b1f6f2a8d94e3c8f1a2b3c4d5e6f70",
                    "account": "paper",
                    "instrument": "NSE:YESBANK",
                    "status": "PENDING",
                    "tag": "SDK5QJ7YV2ZPLM3NRA",
                    "received_at": "2019-01-01T09:16:00.123456+05:30",
                }
            ]
        }
    )

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
    purpose: Purpose
    origin: OrderOrigin
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
    cancel_wanted_at: Moment | None
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
            purpose=intent.purpose,
            origin=order.origin,
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
            cancel_wanted_at=order.cancel_wanted_at,
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

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "at": "2019-01-01T09:16:00.130214+05:30",
                    "event": "ACCEPTED",
                    "status": "PLACED",
                    "actor": "worker@host:4711:a1b2c3",
                    "detail": {"attempt": "1", "broker_order_id": "190101000000001"},
                }
            ]
        }
    )

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
