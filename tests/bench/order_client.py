"""A client of the API that costs next to nothing: what is measured is the system, on the same cores."""

import asyncio
import json
import time
from typing import NamedTuple
from urllib.parse import urlsplit

CONNECTIONS = 32
ANSWER_TIMEOUT_S = 30.0
IDLE_S_MAX = 3.0
"""Below the server's own patience with an idle connection."""

ACCEPTED = 202


class _Connection(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used_at: float


class OrderClient:
    """Up to `CONNECTIONS` keep-alive connections to the API; each carries one request at a time."""

    def __init__(self, api_url: str, token: str) -> None:
        address = urlsplit(api_url)
        self._host, self._port = address.hostname or "", address.port or 0
        self._token = token
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[_Connection] = []

    async def close(self) -> None:
        """Close the idle connections."""
        for connection in self._idle:
            connection.writer.close()
        self._idle.clear()

    async def post(self, key: str, body: dict[str, str | int]) -> str:
        """Post an order and return the tag that it will carry; raises `RuntimeError` where it is not accepted."""
        content = json.dumps(body).encode()
        head = (
            f"POST /api/v1/orders HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {self._token}\r\n"
            f"Idempotency-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        async with self._slots, asyncio.timeout(ANSWER_TIMEOUT_S):
            reader, writer = await self._connection()
            writer.write(head.encode() + content)
            answer = await _read_answer(reader)
            self._idle.append(_Connection(reader, writer, time.monotonic()))
        return str(answer["tag"])

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer, used_at = self._idle.pop()
            if time.monotonic() - used_at < IDLE_S_MAX:
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, self._port)


async def _read_answer(reader: asyncio.StreamReader) -> dict[str, object]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    lines = head.split("\r\n")
    length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length"))
    answer: dict[str, object] = json.loads(await reader.readexactly(length))
    if int(lines[0].split()[1]) != ACCEPTED:
        raise RuntimeError(f"not accepted: {lines[0]} {answer}")
    return answer
