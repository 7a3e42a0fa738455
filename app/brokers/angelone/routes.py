"""The paths of SmartAPI, out of the official SDK's own table.

The SDK is read, never imported: its import asks the internet for this machine's address without a time-out.
"""

import ast
import re
from enum import StrEnum
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

SDK_PACKAGE = "smartapi-python"
_TABLE_FILE = "SmartApi/smartConnect.py"
_TABLE_NAME = "_routes"
_PATH = re.compile(r"/[A-Za-z0-9/_-]+", re.ASCII)


class RouteTableError(RuntimeError):
    """The official SDK is not installed, or its route table is not where and what it was."""


class Route(StrEnum):
    """The calls that we make, by the SDK's names for them."""

    LOGIN = "api.login"
    REFRESH = "api.token"
    LOGOUT = "api.logout"
    PROFILE = "api.user.profile"
    FUNDS = "api.rms.limit"
    PLACE = "api.order.place"
    MODIFY = "api.order.modify"
    CANCEL = "api.order.cancel"
    ORDER_BOOK = "api.order.book"
    ORDER_DETAILS = "api.individual.order.details"
    TRADE_BOOK = "api.trade.book"
    POSITIONS = "api.position"
    LAST_PRICE = "api.ltp.data"
    QUOTES = "api.market.data"
    CANDLES = "api.candle.data"


@cache
def official_paths() -> dict[Route, str]:
    """Return the path of every call; raises `RouteTableError`."""
    try:
        source = Path(str(distribution(SDK_PACKAGE).locate_file(_TABLE_FILE))).read_text(encoding="utf-8")
    except (PackageNotFoundError, OSError) as exc:
        raise RouteTableError(f"cannot read the route table of {SDK_PACKAGE}: {exc}") from exc
    return paths_in(source)


def paths_in(source: str) -> dict[Route, str]:
    """Return the paths that a source of the SDK states; raises `RouteTableError`."""
    table = _literal_table(source)
    paths = {}
    for route in Route:
        path = table.get(route.value)
        if not isinstance(path, str) or _PATH.fullmatch("/" + path.lstrip("/")) is None:
            raise RouteTableError(f"the route table of {SDK_PACKAGE} has no usable {route.value}")
        paths[route] = "/" + path.lstrip("/")
    return paths


def _literal_table(source: str) -> dict[object, object]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == _TABLE_NAME for target in node.targets
        ):
            table = ast.literal_eval(node.value)
            if isinstance(table, dict):
                return table
    raise RouteTableError(f"{SDK_PACKAGE} has no table {_TABLE_NAME}")
