"""A listener that does not keep up is cut off instead of being lied to."""

from pathlib import Path

from app.exchange.faults import Faults
from app.exchange.ledger import Ledger
from app.exchange.market import Market, utc_now
from app.exchange.settings import ExchangeSettings
from app.exchange.update_hub import FRAMES_WAITING_MAX, UpdateHub
from tests.harness.exchange import PaperClient


def hub(path: Path) -> tuple[UpdateHub, Ledger]:
    settings = ExchangeSettings(host="", port=0, control_key="", ledger_path=path, instruments=[])
    ledger = Ledger(path)
    return UpdateHub(Market(settings, ledger, wall_clock=utc_now), Faults()), ledger


async def test_a_full_queue_closes_the_connection(tmp_path: Path) -> None:
    updates, ledger = hub(tmp_path / "ledger.sqlite3")
    listener = updates.join(PaperClient().client_code, "token")
    assert listener is not None
    for _ in range(FRAMES_WAITING_MAX - 1):
        listener.put("frame")
    assert not listener.closing.is_set()
    listener.put("one too many")
    assert listener.closing.is_set()
    ledger.close()


async def test_only_the_connections_of_a_closed_session_are_closed(tmp_path: Path) -> None:
    updates, ledger = hub(tmp_path / "ledger.sqlite3")
    one, two = updates.join("P100", "one"), updates.join("P100", "two")
    updates.close_session("one")
    assert one is not None
    assert two is not None
    assert (one.closing.is_set(), two.closing.is_set()) == (True, False)
    ledger.close()
