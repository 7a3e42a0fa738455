"""The market: two modes, one clock, and every action a single committed entry of the ledger."""

import hashlib
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from enum import StrEnum
from uuid import uuid4

from app.core.errors import OrderRefused, SaudaError
from app.core.orders import OrderType, Validity
from app.exchange.accounts import Account
from app.exchange.book import Book
from app.exchange.charges import Charges
from app.exchange.clock import ExchangeClock
from app.exchange.exchange_time import exchange_day, in_session
from app.exchange.instruments import InstrumentIndex
from app.exchange.ledger import Entry, Ledger
from app.exchange.order_rules import NewTerms, OrderTerms, why_rejected
from app.exchange.orders import OrderHappening, PaperOrder
from app.exchange.prices import PriceBoard, Print
from app.exchange.settings import ExchangeSettings

ORDER_NUMBERS = 10**9
"""Order ids are the day and nine digits, as the wire's are."""

type Listener = Callable[[list[OrderHappening]], None]


class Mode(StrEnum):
    """`free` follows the wall clock and is always open; `lockstep` moves only when it is stepped."""

    FREE = "free"
    LOCKSTEP = "lockstep"


class TagEcho(StrEnum):
    """Where the exchange gives an order's tag back: everywhere, everywhere but the order book, or nowhere."""

    BOOK = "book"
    DETAILS = "details"
    NONE = "none"


class AccountConflict(SaudaError):
    """An account of this code exists with other values."""

    code = "account_conflict"


class Market:
    """All state of the exchange but sessions; made from the ledger, and ahead of it only inside one call."""

    def __init__(self, settings: ExchangeSettings, ledger: Ledger, *, wall_clock: Callable[[], datetime]) -> None:
        self.instruments = InstrumentIndex(settings.instruments)
        self.ledger = ledger
        self.accounts: dict[str, Account] = {account.client_code: account for account in ledger.accounts()}
        last = ledger.last_numbers()
        self.prices = PriceBoard(ledger.last_prices(), ledger.last_candles())
        self.book = Book(
            orders=ledger.working_orders(),
            accounts=self.accounts,
            prices=self.prices,
            charges=Charges(settings.fee_schedules),
            last_rank=last.rank,
            last_trade_id=last.trade,
        )
        self.listeners: list[Listener] = []
        self._last_number = last.order
        self._lapsed_for: date | None = None
        state = ledger.state()
        self.clock = ExchangeClock(wall_clock, offset_ms=int(state.get("clock_offset_ms", 0)))
        self.mode = Mode(state.get("mode", Mode.FREE))
        self.tag_echo = TagEcho(state.get("tag_echo", TagEcho.BOOK))
        self.run = state.get("run", "")
        self.last_step = int(state.get("last_step", -1))
        self.steps_taken = int(state.get("steps_taken", 0))
        self.stepped_to = datetime.fromisoformat(state["stepped_to"]) if state.get("stepped_to") else None

    def now(self) -> datetime:
        """Return market time in UTC; before the first step of a replay it is the wall's."""
        if self.mode is Mode.LOCKSTEP and self.stepped_to is not None:
            return self.stepped_to
        return self.clock.now()

    def add_account(self, account: Account) -> bool:
        """Open an account; False when the very same one exists. Raises `AccountConflict`."""
        known = self.accounts.get(account.client_code)
        if known is None:
            self.ledger.add_account(account)
            self.accounts[account.client_code] = account
            return True
        old = (known.pin, known.totp_secret, known.api_key, known.start_cash)
        if old != (account.pin, account.totp_secret, account.api_key, account.start_cash):
            raise AccountConflict(f"account {account.client_code} exists with other values")
        return False

    def place(self, client_code: str, terms: OrderTerms, *, received_at: datetime, acknowledged: bool) -> PaperOrder:
        """Take an order: reject it, match it at once (free), or hold it for the next step (lockstep)."""
        at = self._begin()
        entry = Entry(write=_write(client_code, received_at, terms.instrument.exchange, "place"))
        order = self._new_order(client_code, terms, received_at=received_at, at=at, acknowledged=acknowledged)
        self.book.accept(entry, order)
        text = why_rejected(
            instrument=terms.instrument,
            order_type=terms.order_type,
            quantity=terms.quantity,
            price=terms.price,
            trigger_price=terms.trigger_price,
        )
        if not text and self._is_closed(at):
            text = "RMS: the market is closed"
        if text:
            self.book.reject(entry, order, text, at=at)
        elif self.mode is Mode.FREE:
            self._release_now(entry, order, at)
        self.commit(entry)
        return order

    def count_change(self, client_code: str, order_id: str, op: str, *, received_at: datetime) -> None:
        """Count a modification or cancellation that was asked for, whatever becomes of it."""
        order = self.book.get(order_id) or self.ledger.order_by_id(client_code, order_id)
        self.commit(Entry(write=_write(client_code, received_at, order.exchange if order else "", op)))

    def modify(self, client_code: str, order_id: str, terms: NewTerms) -> PaperOrder:
        """Set new terms on a working order; raises `OrderRefused`."""
        at = self._begin()
        entry = Entry()
        order = self.working_order(client_code, order_id)
        instrument = self.instruments.get(order.key)
        if instrument is None:
            raise OrderRefused(code="not_listed", message=f"{order.symbol} is no longer listed")
        text = why_rejected(
            instrument=instrument,
            order_type=terms.order_type,
            quantity=terms.quantity,
            price=terms.price,
            trigger_price=terms.trigger_price,
        )
        if terms.quantity < order.filled:
            text = f"RMS: {order.filled} units have traded already"
        if text:
            raise OrderRefused(code="bad_terms", message=text)
        order.order_type, order.validity, order.quantity = terms.order_type, terms.validity, terms.quantity
        order.price, order.trigger_price = terms.price, terms.trigger_price
        if terms.quantity == order.filled:
            self.book.complete(entry, order, at=at)
            self.commit(entry)
            return order
        self.book.modify(entry, order, at=at)
        if self.mode is Mode.FREE:
            self._release_now(entry, order, at)
        self.commit(entry)
        return order

    def cancel(self, client_code: str, order_id: str) -> PaperOrder:
        """Cancel a working order at once, in either mode; raises `OrderRefused`."""
        at = self._begin()
        entry = Entry()
        order = self.working_order(client_code, order_id)
        self.book.cancel(entry, order, "cancelled by the client", at=at)
        self.commit(entry)
        return order

    def working_order(self, client_code: str, order_id: str) -> PaperOrder:
        """Return a client's working order; raises `OrderRefused` when there is none or it has ended."""
        order = self.book.get(order_id)
        if order is not None and order.client_code == client_code:
            return order
        ended = self.ledger.order_by_id(client_code, order_id)
        if ended is None:
            raise OrderRefused(code="not_found", message="Order not found")
        raise OrderRefused(code="ended", message=f"Order not found among open orders: it is {ended.state}")

    def print_prices(self, prints: Iterable[Print]) -> None:
        """Print prices by the market clock and match the resting orders against them."""
        at = self._begin()
        entry = Entry()
        self.take_prices(entry, prints, at=at)
        self.commit(entry)

    def take_prices(self, entry: Entry, prints: Iterable[Print], *, at: datetime) -> None:
        """Print prices into an entry that is being made, and match each at once."""
        for printed in prints:
            last, candle = self.prices.print(printed.key, printed.price, printed.volume, at)
            entry.prices[printed.key], entry.candles[printed.key] = last, candle
            if not self._is_closed(at):
                self.book.match(entry, printed.key, run=self.resting_run, at=at)

    def set_mode(self, mode: Mode) -> None:
        """Change the mode; held orders are released when the market becomes free."""
        if mode is self.mode:
            return
        entry = Entry(state={"mode": mode})
        self.mode = mode
        if mode is Mode.FREE:
            at = self.now()
            for order in self.book.held(""):
                self._release_now(entry, order, at)
        self.commit(entry)

    def set_tag_echo(self, tag_echo: TagEcho) -> None:
        """Change where tags are given back."""
        self.tag_echo = tag_echo
        self.commit(Entry(state={"tag_echo": tag_echo}))

    def set_clock(self, offset_ms: int) -> None:
        """Set the exchange's clock off the machine's, for good."""
        self.clock.offset_ms = offset_ms
        self.commit(Entry(state={"clock_offset_ms": str(offset_ms)}))

    @property
    def resting_run(self) -> str:
        """The run whose resting orders may trade; orders of other runs are left alone."""
        return self.run if self.mode is Mode.LOCKSTEP else ""

    def commit(self, entry: Entry) -> None:
        """Write the entry, and only then tell the listener; raises `LedgerFailed`."""
        self.ledger.write(entry)
        if entry.events:
            for listener in self.listeners:
                listener(entry.events)

    def _begin(self) -> datetime:
        """Return market time; where the wall clock has reached another day, the day orders before it lapse first."""
        at = self.now()
        today = exchange_day(at)
        if self.mode is Mode.FREE and today != self._lapsed_for:
            entry = Entry()
            self.book.lapse(entry, today=today, closed=False, run="", at=at)
            self.commit(entry)
            self._lapsed_for = today
        return at

    def _is_closed(self, at: datetime) -> bool:
        return self.mode is Mode.LOCKSTEP and self.stepped_to is not None and not in_session(at)

    def _release_now(self, entry: Entry, order: PaperOrder, at: datetime) -> None:
        self.book.release(entry, order, run="", at=at)
        if order.order_type is OrderType.MARKET and self.prices.get(order.key) is None:
            self.book.reject(entry, order, "stale price: there is no last price", at=at)
            return
        self.book.match_one(entry, order, at=at)
        if order.is_working and order.validity is Validity.IOC:
            self.book.cancel(entry, order, "IOC found no price", at=at)

    def _new_order(
        self, client_code: str, terms: OrderTerms, *, received_at: datetime, at: datetime, acknowledged: bool
    ) -> PaperOrder:
        self._last_number += 1
        instrument = terms.instrument
        return PaperOrder(
            order_id=self._new_order_id(terms.tag, at),
            unique_id=str(uuid4()),
            number=self._last_number,
            client_code=client_code,
            tag=terms.tag,
            exchange=instrument.exchange,
            token=instrument.token,
            symbol=instrument.trading_symbol,
            lot_size=instrument.lot_size,
            variety=terms.variety,
            order_type=terms.order_type,
            product=terms.product,
            validity=terms.validity,
            side=terms.side,
            quantity=terms.quantity,
            disclosed=terms.disclosed,
            price=terms.price,
            trigger_price=terms.trigger_price,
            day=exchange_day(at),
            received_at=received_at,
            market_time=at,
            updated_at=at,
            acknowledged=acknowledged,
        )

    def _new_order_id(self, tag: str, at: datetime) -> str:
        number = self._last_number
        if self.mode is Mode.LOCKSTEP and tag:
            # Trades of one second are told apart by order id, so in a replay ids must not tell who came first.
            number = int.from_bytes(hashlib.sha256(tag.encode()).digest()[:8])
        day = f"{exchange_day(at):%y%m%d}"
        while self.ledger.has_order(order_id := f"{day}{number % ORDER_NUMBERS:09d}"):
            number += 1
        return order_id


def _write(client_code: str, received_at: datetime, exchange: str, op: str) -> tuple[str, str, str, str]:
    return (client_code, received_at.isoformat(timespec="seconds"), exchange, op)


def utc_now() -> datetime:
    """Return the wall clock's time in UTC."""
    return datetime.now(UTC)
