"""Fills of saved orders, for tests of what is made of them."""

from datetime import timedelta
from decimal import Decimal

from app.core.fills import Fill, FillKey
from app.core.instruments import Exchange
from app.core.orders import Product, Side
from app.infra.ids import new_id
from app.repositories.fills import NewFill
from app.repositories.order_rows import NewOrder
from tests.harness.records import DAY, NOON, World


def traded(world: World, order: NewOrder, number: int, side: Side, quantity: int, *, price: str) -> NewFill:
    """Return one fill of an order; `number` is its trade id and its second of trading."""
    return NewFill(
        id=new_id(),
        fill=Fill(
            key=FillKey(
                account_id=world.account.id,
                exchange=Exchange.NSE,
                trade_date=DAY,
                broker_order_id="B1",
                trade_id=str(number),
            ),
            side=side,
            quantity=quantity,
            price=Decimal(price),
            traded_at=NOON + timedelta(seconds=number),
            fees=Decimal("0.11"),
        ),
        order_id=order.id,
        strategy_id=order.intent.strategy_id,
        instrument_id=world.instrument.id,
        product=Product.MIS,
    )
