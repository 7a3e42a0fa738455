"""The channel below the adapters: TLS, other event loops, the environment."""

import socket
import ssl
import sys
from pathlib import Path
from time import monotonic

import httpx
import pytest
import uvloop

from app.brokers.http import HttpChannel, NoReply, Reply
from app.brokers.sockets import SocketBackend, socket_options
from app.core.outcomes import Accepted
from app.infra.clock import SystemClock
from tests.harness.angelone import SESSION, angelone_broker, place_request, quick_record
from tests.harness.broker_server import broker_server, golden_body, http_reply
from tests.harness.tls import self_signed

RECEIPT = http_reply(golden_body("place"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("trusted", ["trusted", "unknown"])
async def test_tls_carries_a_request_only_to_a_server_whose_certificate_is_known(
    certificate: Path, trusted: str
) -> None:
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(certificate)
    client_tls = ssl.create_default_context(cafile=str(certificate) if trusted == "trusted" else None)
    async with broker_server(lambda server: server.answering(RECEIPT, RECEIPT), tls=server_tls) as server:
        channel = HttpChannel(timeouts=quick_record().timeouts, clock=SystemClock(), ssl_context=client_tls)
        url = httpx.URL(f"https://127.0.0.1:{server.port}/order")
        replies = [
            await channel.exchange("POST", url, httpx.Headers(), content=b"{}", max_bytes=1000) for _ in range(2)
        ]
        await channel.close()
    if trusted == "trusted":
        assert [reply.body for reply in replies if isinstance(reply, Reply)] == [golden_body("place")] * 2
        assert server.connections == 1
    else:
        assert replies == [NoReply(reason="ConnectError", begun=False)] * 2
        assert bytes(server.received) == b""


def test_orders_go_out_on_the_fast_event_loop_too() -> None:
    async def place_twice() -> int:
        async with broker_server(lambda server: server.always(RECEIPT)) as server:
            broker = angelone_broker(server.url)
            for _ in range(2):
                assert isinstance(await broker.place(SESSION, place_request(), deadline=monotonic() + 5), Accepted)
            await broker.close()
            return server.connections

    assert uvloop.run(place_twice()) == 1


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with broker_server(lambda server: server.answering(RECEIPT)) as server:
        broker = angelone_broker(server.url)
        assert isinstance(await broker.place(SESSION, place_request(), deadline=monotonic() + 5), Accepted)
        await broker.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the option is Linux's")
async def test_the_kernel_is_told_to_give_up_on_bytes_that_nobody_acknowledges() -> None:
    async with broker_server(lambda server: server.answering()) as server:
        stream = await SocketBackend().connect_tcp(
            "127.0.0.1", server.port, socket_options=socket_options(unacknowledged_s=4.0)
        )
        used = stream.get_extra_info("socket")
        assert used.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 4000
        assert used.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await stream.aclose()
