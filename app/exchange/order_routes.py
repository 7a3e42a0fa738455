"""Placing, modifying and cancelling orders over the wire."""

import re
from decimal import Decimal

from app.core.errors import OrderRefused
from app.core.orders import OrderType, Product, Side, Validity
from app.exchange.faults import Op
from app.exchange.fields import BadField, Json, choice, number, required_text, text, whole
from app.exchange.market import Market
from app.exchange.order_rules import NewTerms, OrderTerms
from app.exchange.orders import PaperOrder
from app.exchange.session_routes import SECURE
from app.exchange.settings import ExchangeInstrument
from app.exchange.wire import Call, Endpoint, Wire, WireRefusal
from app.exchange.wire_rows import WIRE_PRODUCTS, WIRE_TYPES

TAG_LONGEST = 19
_ZERO = Decimal(0)
_TAG = re.compile(r"[ -~]*\Z")
_TYPES = {wire: order_type for order_type, wire in WIRE_TYPES.items()}
_PRODUCTS = {wire: product for product, wire in WIRE_PRODUCTS.items()}
_REFUSALS = {"not_found": "AB1013", "ended": "AB1013", "bad_terms": "AB1004", "not_listed": "AB1009"}


class OrderRoutes:
    """Handlers of the three order writes."""

    def __init__(self, market: Market) -> None:
        self._market = market

    def routes(self, wire: Wire) -> list[tuple[str, str, Endpoint]]:
        """Return method, path and endpoint of each."""
        return [
            ("POST", f"{SECURE}/order/v1/placeOrder", wire.endpoint(Op.PLACE, self.place)),
            ("POST", f"{SECURE}/order/v1/modifyOrder", wire.endpoint(Op.MODIFY, self.modify)),
            ("POST", f"{SECURE}/order/v1/cancelOrder", wire.endpoint(Op.CANCEL, self.cancel)),
        ]

    def place(self, call: Call) -> Json:
        """Take an order and return its receipt, which says nothing of what became of it."""
        terms = self._terms(call.body)
        order = self._market.place(
            call.client_code, terms, received_at=call.received_at, acknowledged=call.acknowledged
        )
        return {"script": order.symbol, "orderid": order.order_id, "uniqueorderid": order.unique_id}

    def modify(self, call: Call) -> Json:
        """Set new terms on a working order."""
        body = call.body
        order_id = required_text(body, "orderid")
        self._market.count_change(call.client_code, order_id, Op.MODIFY, received_at=call.received_at)
        try:
            order = self._market.working_order(call.client_code, order_id)
            if text(body, "variety", default="") != order.variety:
                raise WireRefusal("AB1008", "Invalid order variety")
            order_type = _order_type(body)
            if order_type.has_trigger is not order.order_type.has_trigger:
                raise WireRefusal("AB1008", "Invalid order variety")
            terms = NewTerms(
                order_type=order_type,
                validity=choice(body, "duration", Validity),
                quantity=whole(body, "quantity"),
                price=number(body, "price", default=order.price),
                trigger_price=number(body, "triggerprice", default=order.trigger_price),
            )
            return _receipt(self._market.modify(call.client_code, order_id, terms))
        except OrderRefused as refused:
            raise WireRefusal(_REFUSALS[refused.code], refused.message) from refused

    def cancel(self, call: Call) -> Json:
        """Cancel a working order."""
        order_id = required_text(call.body, "orderid")
        self._market.count_change(call.client_code, order_id, Op.CANCEL, received_at=call.received_at)
        try:
            order = self._market.working_order(call.client_code, order_id)
            if text(call.body, "variety", default="") != order.variety:
                raise WireRefusal("AB1008", "Invalid order variety")
            return _receipt(self._market.cancel(call.client_code, order_id))
        except OrderRefused as refused:
            raise WireRefusal(_REFUSALS[refused.code], refused.message) from refused

    def _terms(self, body: dict[str, Json]) -> OrderTerms:
        order_type = _order_type(body)
        return OrderTerms(
            instrument=self._instrument(body),
            variety=_variety(body, order_type),
            order_type=order_type,
            product=_product(body),
            validity=choice(body, "duration", Validity),
            side=choice(body, "transactiontype", Side),
            quantity=whole(body, "quantity"),
            disclosed=whole(body, "disclosedquantity", default=0),
            price=number(body, "price", default=_ZERO),
            trigger_price=number(body, "triggerprice", default=_ZERO),
            tag=_tag(body),
        )

    def _instrument(self, body: dict[str, Json]) -> ExchangeInstrument:
        key = f"{text(body, 'exchange', default='')}:{text(body, 'symboltoken', default='')}"
        instrument = self._market.instruments.get(key)
        if instrument is None or text(body, "tradingsymbol", default="") != instrument.trading_symbol:
            raise WireRefusal("AB1009", "Symbol not found")
        return instrument


def _order_type(body: dict[str, Json]) -> OrderType:
    order_type = _TYPES.get(text(body, "ordertype", default=""))
    if order_type is None:
        raise BadField("ordertype", f"must be one of {', '.join(_TYPES)}")
    return order_type


def _variety(body: dict[str, Json], order_type: OrderType) -> str:
    variety = text(body, "variety", default="")
    if variety == "ROBO":
        raise WireRefusal("AB2002", "ROBO orders are blocked")
    if variety != ("STOPLOSS" if order_type.has_trigger else "NORMAL"):
        raise WireRefusal("AB1008", "Invalid order variety")
    return variety


def _product(body: dict[str, Json]) -> Product:
    product = _PRODUCTS.get(text(body, "producttype", default=""))
    if product is None:
        raise WireRefusal("AB1012", "Invalid product type")
    return product


def _tag(body: dict[str, Json]) -> str:
    tag = body.get("ordertag") or ""
    if not isinstance(tag, str) or len(tag) > TAG_LONGEST or not _TAG.match(tag):
        raise WireRefusal("AB4008", f"ordertag must have fewer than {TAG_LONGEST + 1} characters")
    return tag


def _receipt(order: PaperOrder) -> Json:
    return {"orderid": order.order_id, "uniqueorderid": order.unique_id}
