"""Paper can never reach live, however an address is written."""

import pytest

from app.brokers.base import AccountCredentials, BrokerClient
from app.brokers.paper_guard import checked_base_url
from app.brokers.registry import UnknownBroker, broker_records, build_broker
from app.core.accounts import AccountMode
from app.core.errors import PaperGuardError
from app.infra.clock import SystemClock

CREDENTIALS = AccountCredentials(client_code="P1", pin="1", totp_secret="A" * 32, api_key="k")


def build(base_url: str, *, name: str = "angelone", mode: AccountMode = AccountMode.PAPER) -> BrokerClient:
    return build_broker(name, mode=mode, base_url=base_url, credentials=CREDENTIALS, clock=SystemClock())


@pytest.mark.parametrize("name", ["angelone", "null"])
@pytest.mark.parametrize(
    "url",
    [
        "https://apiconnect.angelone.in",
        "http://apiconnect.angelone.in",
        "https://APIConnect.AngelOne.IN",
        "https://apiconnect.angelone.in.",
        "https://apiconnect.angelone.in..",
        "https://apiconnect.angelone.in:8443",
        "https://apiconnect.angelone.in/",
        "https://angelone.in",
        "https://tns.angelone.in",
        "https://new.sub.angelone.in",
        "https://apiconnect.angelbroking.com",
        "https://127.0.0.1@apiconnect.angelone.in",
        "https://apiconnect.angelone.in@127.0.0.1",
        "https://user:pw@127.0.0.1",
        "https://127.0.0.1\\@apiconnect.angelone.in",
        "https://127.0.0.1#@apiconnect.angelone.in",
        "https://127.0.0.1?x=.local",
        "https://127.0.0.1/path",
        "https://apiconnect%2eangelone.in",
        "https://apiconnect\u3002angelone\u3002in",
        "https://apiconnect.\uff41ngelone.in",
        "https://apiconnect.angelone.in\n",
        " https://127.0.0.1",
        "https://.angelone.in",
        "https://",
        "http://",
        "ftp://127.0.0.1",
        "127.0.0.1:8010",
        "",
        "http://127.0.0.1:123456",
        "http://8.8.8.8",
        "http://8.8.8.8.",
        "http://134744072",
        "http://0x08080808",
        "http://0x8.8.8.8",
        "http://010.8.8.8",
        "http://127.1",
        "http://[2001:4860:4860::8888]",
        "http://[::ffff:8.8.8.8]",
        "http://[64:ff9b::808:808]",
        "http://[::1%25eth0]",
        "http://[::1].angelone.in",
        "http://[]",
    ],
)
def test_a_paper_account_is_refused_everything_that_is_or_could_be_live(url: str, name: str) -> None:
    with pytest.raises(PaperGuardError):
        build(url, name=name)


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("http://127.0.0.1:8010", "http://127.0.0.1:8010"),
        ("http://127.0.0.1:8010/", "http://127.0.0.1:8010"),
        ("HTTP://LocalHost:8010", "http://localhost:8010"),
        ("http://exchange", "http://exchange"),
        ("https://paper.example.org.", "https://paper.example.org"),
        ("http://notangelone.in", "http://notangelone.in"),
        ("http://10.0.0.7:80", "http://10.0.0.7:80"),
        ("http://[::1]:8010", "http://[::1]:8010"),
        ("http://[::ffff:127.0.0.1]", "http://[::ffff:127.0.0.1]"),
    ],
)
def test_a_paper_exchange_of_ones_own_is_allowed(url: str, plain: str) -> None:
    records = broker_records()
    found = checked_base_url(url, mode=AccountMode.PAPER, record=records["angelone"], all_records=records.values())
    assert found == plain
    build(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://apiconnect.angelone.in",
        "https://apiconnect.angelone.in:443",
        "https://ApiConnect.angelone.in./",
    ],
)
def test_a_live_account_uses_its_brokers_own_host(url: str) -> None:
    build(url, mode=AccountMode.LIVE)


@pytest.mark.parametrize(
    "url",
    [
        "http://apiconnect.angelone.in",
        "https://apiconnect.angelone.in:8443",
        "https://tns.angelone.in",
        "https://evil.apiconnect.angelone.in",
        "https://apiconnect.angelone.in.evil.org",
        "http://127.0.0.1:8010",
        "https://user@apiconnect.angelone.in",
    ],
)
def test_a_live_account_uses_no_other(url: str) -> None:
    with pytest.raises(PaperGuardError):
        build(url, mode=AccountMode.LIVE)


def test_the_null_broker_is_for_paper_only() -> None:
    with pytest.raises(PaperGuardError):
        build("https://apiconnect.angelone.in", name="null", mode=AccountMode.LIVE)


def test_an_unknown_broker_is_named_with_those_there_are() -> None:
    with pytest.raises(UnknownBroker, match="angelone, null"):
        build("http://127.0.0.1", name="nobody")
