"""Login, token refresh, logout, profile and funds."""

import hmac

import pyotp

from app.exchange.accounts import Account
from app.exchange.faults import Op
from app.exchange.fields import Json, text
from app.exchange.market import Market
from app.exchange.sessions import Session, Sessions
from app.exchange.update_hub import UpdateHub
from app.exchange.wire import Call, Endpoint, GatewayRefusal, Wire, WireRefusal
from app.exchange.wire_rows import plain

AUTH = "/rest/auth/angelbroking"
SECURE = "/rest/secure/angelbroking"
TOTP_WINDOW = 1
"""Codes of the half minute before and after also pass: clocks differ."""

_SEGMENTS: list[Json] = ["nse_cm", "bse_cm", "nse_fo", "bse_fo", "mcx_fo"]
_PRODUCTS: list[Json] = ["MARGIN", "MIS", "NRML", "CNC", "CO", "BO"]
_UNUSED_FUNDS: dict[str, Json] = {
    "availableintradaypayin": "0.00",
    "availablelimitmargin": "0.00",
    "collateral": "0.00",
    "m2munrealized": "0.00",
    "utiliseddebits": "0.00",
    "utilisedspan": None,
    "utilisedoptionpremium": None,
    "utilisedholdingsales": None,
    "utilisedexposure": None,
    "utilisedturnover": None,
    "utilisedpayout": "0.00",
}


class SessionRoutes:
    """Handlers of everything about a client rather than an order."""

    def __init__(self, market: Market, sessions: Sessions, hub: UpdateHub) -> None:
        self._market = market
        self._sessions = sessions
        self._hub = hub

    def routes(self, wire: Wire) -> list[tuple[str, str, Endpoint]]:
        """Return method, path and endpoint of each."""
        login, books = Op.LOGIN, Op.BOOKS
        return [
            ("POST", f"{AUTH}/user/v1/loginByPassword", wire.endpoint(login, self.login, open_to_all=True)),
            ("POST", f"{AUTH}/jwt/v1/generateTokens", wire.endpoint(login, self.refresh, open_to_all=True)),
            ("POST", f"{SECURE}/user/v1/logout", wire.endpoint(login, self.logout)),
            ("GET", f"{SECURE}/user/v1/getProfile", wire.endpoint(books, self.profile)),
            ("GET", f"{SECURE}/user/v1/getRMS", wire.endpoint(Op.FUNDS, self.funds)),
        ]

    def login(self, call: Call) -> Json:
        """Open a session for the right PIN and TOTP code."""
        account = self._market.accounts.get(text(call.body, "clientcode"))
        pin, code = text(call.body, "password"), text(call.body, "totp")
        if account is None or not hmac.compare_digest(pin, account.pin):
            raise WireRefusal("AB1000", "Invalid client code or PIN")
        self._check_key(account, call)
        totp = pyotp.TOTP(account.totp_secret)
        # By the machine's clock, which makes the client's codes: with a clock set far off nobody could log in.
        if not totp.verify(code, for_time=self._market.clock.machine(), valid_window=TOTP_WINDOW):
            raise WireRefusal("AB1050", "Invalid totp")
        tokens = _tokens(self._sessions.open(account.client_code, call.received_at))
        return tokens | {"state": text(call.body, "state", default="")}

    def refresh(self, call: Call) -> Json:
        """Replace all three tokens; the old ones are dead."""
        if not call.authorization:
            raise GatewayRefusal("AG8003", "Token missing")
        session = self._sessions.by_refresh_token(text(call.body, "refreshToken", longest=512))
        if session is None:
            raise WireRefusal("AB8050", "Invalid refresh token")
        if session.expires_at <= call.received_at:
            raise WireRefusal("AB8051", "Refresh token expired")
        self._check_key(self._market.accounts[session.client_code], call)
        self._sessions.close(session)
        return _tokens(self._sessions.open(session.client_code, call.received_at))

    def logout(self, call: Call) -> Json:
        """End the session."""
        if call.session is None or text(call.body, "clientcode") != call.client_code:
            raise WireRefusal("AB1011", "Client not login")
        self._sessions.close(call.session)
        self._hub.close_session(call.session.access_token)
        return "Logout Successfully"

    def profile(self, call: Call) -> Json:
        """Return who is logged in."""
        return {
            "clientcode": call.client_code,
            "name": f"PAPER {call.client_code}",
            "email": "",
            "mobileno": "",
            "exchanges": _SEGMENTS,
            "products": _PRODUCTS,
            "lastlogintime": "",
            "broker": "",
        }

    def funds(self, call: Call) -> Json:
        """Return the cash of the account; margin is not modelled."""
        account = self._market.accounts[call.client_code]
        cash = plain(account.cash)
        return {
            "net": cash,
            "availablecash": cash,
            "m2mrealized": plain(account.realized_pnl),
            **_UNUSED_FUNDS,
        }

    @staticmethod
    def _check_key(account: Account, call: Call) -> None:
        if not hmac.compare_digest(call.api_key.encode(), account.api_key.encode()):
            raise GatewayRefusal("AG8004", "Invalid API Key")


def _tokens(session: Session) -> dict[str, Json]:
    return {
        "jwtToken": session.access_token,
        "refreshToken": session.refresh_token,
        "feedToken": session.feed_token,
    }
