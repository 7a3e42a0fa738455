"""When the paper exchange fails, a paper account fails with it: nothing falls back to a live host."""

import socket
from time import monotonic

import pytest

from app.brokers.registry import broker_records
from app.core.errors import BrokerUnreadable
from app.core.outcomes import NotSent
from tests.harness.angelone import SESSION, angelone_broker, place_request
from tests.harness.ports import free_port


async def test_paper_exception_not_live(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def noted(host: str, *args: object, **named: object) -> object:
        asked.append(host)
        return resolve(host, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", noted)
    broker = angelone_broker(f"http://127.0.0.1:{free_port()}")
    try:
        assert isinstance(await broker.place(SESSION, place_request(), deadline=monotonic() + 5), NotSent)
        for reading in (broker.login(), broker.order_book(SESSION), broker.positions(SESSION)):
            with pytest.raises(BrokerUnreadable):
                await reading
    finally:
        await broker.close()
    live = {host for record in broker_records().values() for host in record.live_hosts}
    assert live
    assert not live & set(asked)
