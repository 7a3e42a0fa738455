"""Keeps paper accounts away from real money and live accounts on their broker's own host. Any doubt refuses."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from app.brokers.base import BrokerRecord
from app.core.accounts import AccountMode
from app.core.errors import PaperGuardError

PAPER_HEADER = "X-Paper-Exchange"
PAPER_MARK = "sauda"

# The whole grammar of a base URL. User info, paths, queries, escapes and non-ASCII letters have no place in it: two
# parsers could read them as two different hosts.
_BASE_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?/?", re.ASCII | re.IGNORECASE
)
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_HTTPS_PORT = "443"


@dataclass(frozen=True, slots=True)
class _Address:
    scheme: str
    host: str
    port: str | None

    @property
    def url(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"


def checked_base_url(
    base_url: str, *, mode: AccountMode, record: BrokerRecord, all_records: Iterable[BrokerRecord]
) -> str:
    """Return the base URL in plain form if an account of this mode may use it; raises `PaperGuardError`."""
    address = _parse(base_url)
    if mode is AccountMode.LIVE:
        _check_live(address, record)
    else:
        _check_paper(address, all_records)
    return address.url


def check_paper_mark(values: list[str]) -> None:
    """Raise `PaperGuardError` unless these values of the paper header are the paper exchange's own."""
    if values != [PAPER_MARK]:
        raise PaperGuardError("the login was not answered by the paper exchange")


def _parse(base_url: str) -> _Address:
    match = _BASE_URL.fullmatch(base_url)
    if match is None:
        raise PaperGuardError("the broker address is not a plain http(s)://host[:port]")
    host = match["host"].lower().removesuffix(".")
    if not host.startswith("[") and not all(host.split(".")):
        raise PaperGuardError("the broker address has an empty part in its host")
    return _Address(match["scheme"].lower(), host, match["port"])


def _check_live(address: _Address, record: BrokerRecord) -> None:
    if address.host not in record.live_hosts:
        raise PaperGuardError(f"{address.host} is not a live host of {record.name}")
    if address.scheme != "https" or address.port not in (None, _HTTPS_PORT):
        raise PaperGuardError("a live account uses https on its usual port only")


def _check_paper(address: _Address, all_records: Iterable[BrokerRecord]) -> None:
    for record in all_records:
        for live in (*record.live_hosts, *record.live_domains):
            if address.host == live or address.host.endswith("." + live):
                raise PaperGuardError(f"a paper account may not use {address.host}: it belongs to {record.name}")
    if _is_public_ip(address.host):
        raise PaperGuardError("a paper account may not use a public IP address: it could be a live broker's")


def _is_public_ip(host: str) -> bool:
    """Whether the host is written as an IP address outside private networks, or in a form only some parsers read."""
    numeric = host.startswith("[") or _NUMERIC_LABEL.fullmatch(host.rsplit(".", 1)[-1]) is not None
    if not numeric:
        return False
    try:
        ip = ip_address(host.strip("[]"))
    except ValueError:
        return True
    mapped = getattr(ip, "ipv4_mapped", None)
    return not (mapped or ip).is_private
