"""Changes and cancels of orders on the wire."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.api.schemas import PriceIn, Rupees
from app.core.orders import OrderStatus, OrderType, Purpose, Side
from app.services.change_answers import Cancelled, CancelManyAnswer, ChangeAnswer, ChangeResult

_ACCOUNT = Field(
    default=None,
    min_length=1,
    max_length=64,
    description="Name of the account that the order must be one of; left out, it is not checked",
    examples=["paper"],
)


class OrderChangeIn(BaseModel):
    """The terms to change; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"price": "182.50", "quantity": 20}]})

    account: str | None = _ACCOUNT
    quantity: int | None = Field(
        default=None, gt=0, strict=True, description="The order's new total in units, what has traded included"
    )
    order_type: OrderType | None = None
    price: PriceIn | None = Field(default=None, description="New limit in rupees")
    trigger_price: PriceIn | None = Field(default=None, description="New trigger in rupees")


class CancelIn(BaseModel):
    """A cancel needs no body; with one it can make sure of the account."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"account": "paper"}]})

    account: str | None = _ACCOUNT


class CancelManyIn(BaseModel):
    """Which orders of an account to cancel; a filter that is left out fits all."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"account": "paper", "instrument": "NSE:YESBANK"}]}
    )

    account: str = Field(min_length=1, max_length=64, description="Name of the broker account", examples=["paper"])
    instrument: str | None = Field(default=None, min_length=3, max_length=64, examples=["NSE:YESBANK"])
    strategy_id: UUID | None = None
    side: Side | None = None
    purpose: Purpose | None = None


class OrderChangeOut(BaseModel):
    """What became of the wish, with the order's state at that moment."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "order_id": "019a9c2e-7d3a-7c11-8f52-3b6f0a4d9e21",
                    "account": "paper",
                    "result": "modify_sent",
                    "status": "PLACED",
                    "quantity": 10,
                    "filled_quantity": 0,
                    "order_type": "LIMIT",
                    "price": "182.65",
                    "trigger_price": None,
                }
            ]
        }
    )

    order_id: UUID
    account: str
    result: ChangeResult = Field(
        description="cancelled and modified: done, the broker never had it. cancel_sent and modify_sent: on its way to "
        "the broker. held: sent as soon as it is known whether the order is at the broker"
    )
    status: OrderStatus
    quantity: int
    filled_quantity: int
    order_type: OrderType
    price: Rupees | None
    trigger_price: Rupees | None

    @classmethod
    def of(cls, answer: ChangeAnswer, result: ChangeResult) -> "OrderChangeOut":
        """Return the wire form of an answer that is no refusal."""
        return cls(
            order_id=answer.order_id,
            account=answer.account,
            result=result,
            status=answer.status,
            quantity=answer.quantity,
            filled_quantity=answer.filled_quantity,
            order_type=answer.order_type,
            price=answer.price,
            trigger_price=answer.trigger_price,
        )


class CancelledOut(BaseModel):
    """What became of one order."""

    order_id: UUID
    result: ChangeResult
    status: OrderStatus

    @classmethod
    def of(cls, one: Cancelled) -> "CancelledOut":
        """Return the wire form."""
        return cls(order_id=one.order_id, result=one.result, status=one.status)


class CancelManyOut(BaseModel):
    """What became of each order that fitted, oldest first; orders whose cancel was under way are not among them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "account": "paper",
                    "results": [
                        {
                            "order_id": "019a9c2e-7d3a-7c11-8f52-3b6f0a4d9e21",
                            "result": "cancel_sent",
                            "status": "PLACED",
                        }
                    ],
                    "more": False,
                }
            ]
        }
    )

    account: str
    results: list[CancelledOut]
    more: bool = Field(description="True where more orders fit than one request cancels: ask again with a new key")

    @classmethod
    def of(cls, answer: CancelManyAnswer) -> "CancelManyOut":
        """Return the wire form."""
        return cls(account=answer.account, results=[CancelledOut.of(one) for one in answer.results], more=answer.more)
