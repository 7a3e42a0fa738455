"""Paper accounts: credentials, cash, counters, and positions folded from trades."""

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from uuid import UUID

from app.core.fills import Fill, FillKey
from app.core.instruments import Exchange
from app.core.orders import Product, Side
from app.core.positions import Position, apply_fill
from app.exchange.orders import PaperTrade

_ONE_ACCOUNT = UUID(int=0)
"""A position folds the fills of one account only, so the account in their keys says nothing here."""


@dataclass(slots=True, kw_only=True)
class PositionLine:
    """One instrument and product of an account: the position over all days and what this day traded of it."""

    exchange: Exchange
    token: str
    symbol: str
    product: Product
    day: date
    carried: int = 0
    carried_cost: Decimal = Decimal(0)
    bought: int = 0
    bought_value: Decimal = Decimal(0)
    sold: int = 0
    sold_value: Decimal = Decimal(0)
    position: Position = field(default_factory=Position)

    def add(self, trade: PaperTrade) -> None:
        """Take one more trade; a trade of another day carries the position forward first."""
        self.roll(trade.day)
        if trade.side is Side.BUY:
            self.bought += trade.quantity
            self.bought_value += trade.value
        else:
            self.sold += trade.quantity
            self.sold_value += trade.value
        self.position = apply_fill(self.position, _as_fill(trade))

    def roll(self, day: date) -> None:
        """Begin another day: what is open becomes carried, and the day's figures start at nothing."""
        if day == self.day:
            return
        self.day = day
        self.carried, self.carried_cost = self.position.quantity, self.position.open_cost
        self.bought, self.sold = 0, 0
        self.bought_value, self.sold_value = Decimal(0), Decimal(0)


@dataclass(slots=True, kw_only=True)
class Account:
    """One client. Money in rupees; `terminal` counts orders that have ended."""

    client_code: str
    pin: str = field(repr=False)
    totp_secret: str = field(repr=False)
    api_key: str = field(repr=False)
    start_cash: Decimal
    cash: Decimal
    orders: int = 0
    trades: int = 0
    terminal: int = 0
    lines: dict[tuple[str, Product], PositionLine] = field(default_factory=dict)

    def book(self, trade: PaperTrade) -> None:
        """Count a trade and take it into cash and positions."""
        self.cash -= trade.side.sign * trade.value + trade.fees
        self.take_position(trade)

    def take_position(self, trade: PaperTrade) -> None:
        """Count a trade and take it into the positions only: its cash is already in the ledger."""
        self.trades += 1
        line = self.lines.get((trade.key, trade.product))
        if line is None:
            line = self.lines[(trade.key, trade.product)] = PositionLine(
                exchange=trade.exchange, token=trade.token, symbol=trade.symbol, product=trade.product, day=trade.day
            )
        line.add(trade)

    @property
    def realized_pnl(self) -> Decimal:
        """Realised profit and loss over all positions, before fees."""
        return sum((line.position.realized_pnl for line in self.lines.values()), Decimal(0))

    @property
    def fees(self) -> Decimal:
        """All charges paid."""
        return sum((line.position.fees for line in self.lines.values()), Decimal(0))


def _as_fill(trade: PaperTrade) -> Fill:
    return Fill(
        key=FillKey(
            account_id=_ONE_ACCOUNT,
            exchange=trade.exchange,
            trade_date=trade.day,
            broker_order_id=trade.order_id,
            trade_id=str(trade.trade_id),
        ),
        side=trade.side,
        quantity=trade.quantity,
        price=trade.price,
        traded_at=trade.traded_at,
        fees=trade.fees,
    )
