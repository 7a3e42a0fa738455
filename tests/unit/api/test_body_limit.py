"""The limit of bodies, message by message."""

import json

from starlette.types import Message, Receive, Scope, Send

from app.api.body_limit import MAX_BODY_BYTES, MAX_DISCARDED_BYTES, BodyLimit


class Inner:
    """An application that keeps the bodies that reach it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.after: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            self.after.append(scope["type"])
            return
        self.bodies.append((await receive())["body"])
        self.after.append((await receive())["type"])


async def serve(*messages: Message, kind: str = "http") -> tuple[Inner, list[Message], int]:
    inner, sent, read = Inner(), [], 0

    async def receive() -> Message:
        nonlocal read
        read += 1
        return messages[read - 1] if read <= len(messages) else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await BodyLimit(inner)({"type": kind, "headers": [], "method": "POST", "path": "/"}, receive, send)
    return inner, sent, read


def part(body: bytes, *, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_parts_are_put_together_and_the_rest_of_the_conversation_passes_through() -> None:
    inner, _, _ = await serve(part(b"a", more=True), part(b"b", more=False))
    assert (inner.bodies, inner.after) == ([b"ab"], ["http.disconnect"])


async def test_a_body_whose_sender_left_is_never_served() -> None:
    inner, sent, _ = await serve(part(b'{"complete": 1}', more=True), {"type": "http.disconnect"})
    assert (inner.bodies, sent) == ([], [])


async def test_too_much_is_read_to_its_end_thrown_away_and_refused() -> None:
    inner, sent, read = await serve(part(b"x" * MAX_BODY_BYTES, more=True), *[part(b"y", more=True)] * 5)
    assert (inner.bodies, sent, read) == ([], [], 7)  # its sender left: nobody to refuse
    inner, sent, _ = await serve(part(b"x" * MAX_BODY_BYTES, more=True), part(b"y", more=False))
    assert (inner.bodies, sent[0]["status"]) == ([], 413)
    assert json.loads(sent[1]["body"])["code"] == "body_too_large"


async def test_a_flood_is_cut_off() -> None:
    big = part(b"x" * (MAX_DISCARDED_BYTES // 4), more=True)
    _, sent, read = await serve(*[big] * 100)
    assert (sent[0]["status"], read) == (413, 5)
    assert (b"connection", b"close") in sent[0]["headers"]


async def test_what_is_not_http_passes() -> None:
    inner, _, _ = await serve(kind="lifespan")
    assert inner.after == ["lifespan"]
