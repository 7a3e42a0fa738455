"""Breaking a client's connection on purpose: the one thing that an ASGI application cannot do by itself."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_EXTENSION = "sauda.abort"


class AbortableHttpProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP protocol that hands each request the means to cut its connection."""

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["extensions"] = {_EXTENSION: {"abort": self.transport.abort}}


def cut(request: Request) -> None:
    """Cut the connection of a request."""
    abort_transport: Callable[[], None] = request.scope["extensions"][_EXTENSION]["abort"]
    abort_transport()


async def abort(request: Request) -> Response:
    """Cut the connection of a request without an answer; the response returned goes nowhere."""
    cut(request)
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response()
