"""Fills as Hypothesis draws them: one instrument, a few orders, real ticks and times."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from hypothesis import strategies as st

from app.core.fills import Fill, FillKey
from app.core.instruments import Exchange
from app.core.orders import Side

ACCOUNT = UUID(int=1)
OPEN = datetime(2019, 1, 1, 3, 45, tzinfo=UTC)

prices = st.integers(min_value=1, max_value=400_000).map(lambda n: Decimal(n) * Decimal("0.05"))
marks = prices
quantities = st.integers(min_value=1, max_value=5_000)


def fill(
    number: int, *, side: Side, quantity: int, price: Decimal, second: int = 0, fees: Decimal = Decimal(0)
) -> Fill:
    """Return one fill; `number` makes it unique, `second` is when it traded after the open."""
    return Fill(
        key=FillKey(
            account_id=ACCOUNT,
            exchange=Exchange.NSE,
            trade_date=date(2019, 1, 1),
            broker_order_id=f"B{number % 3}",
            trade_id=str(number),
        ),
        side=side,
        quantity=quantity,
        price=price,
        traded_at=OPEN + timedelta(seconds=second),
        fees=fees,
    )


@st.composite
def fill_lists(draw: st.DrawFn, max_size: int = 12) -> list[Fill]:
    """Draw fills in their order of trading; several may share a second, as at an exchange."""
    count = draw(st.integers(min_value=0, max_value=max_size))
    seconds = sorted(draw(st.lists(st.integers(0, 8), min_size=count, max_size=count)))
    return [
        fill(
            number + 1,
            side=draw(st.sampled_from(Side)),
            quantity=draw(quantities),
            price=draw(prices),
            second=seconds[number],
            fees=Decimal(draw(st.integers(0, 5_000))) / 100,
        )
        for number in range(count)
    ]
