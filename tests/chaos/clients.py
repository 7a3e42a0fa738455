"""The clients: they post orders, and repeat a request under its key until it is answered."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from tests.chaos.intents import Intent

CLIENTS = 8
BURST = 10
"""Orders come in bursts, so that several are on their way whenever something is killed."""

ANSWER_TIMEOUT_S = 3.0
GIVE_UP_S = 120.0
REPEAT_BASE_S = 0.05
DISTRUST = 0.1
"""Share of answered requests that are sent once more, by clients that do not trust the answer."""


class ContractBrokenError(Exception):
    """The API answered something that no client may ever see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How an intent was answered: with the order that it became, or with a refusal's code."""

    key: str
    order_id: str | None = None
    tag: str | None = None
    refusal: str | None = None


class Clients:
    """Several concurrent clients of one API."""

    def __init__(self, api_url: str, token: str, *, seed: int) -> None:
        self.answers: list[Answer] = []
        self.repeats = 0
        self._chance = random.Random(seed)
        self._client = httpx.AsyncClient(
            base_url=api_url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=ANSWER_TIMEOUT_S,
            trust_env=False,
        )

    async def submit(self, intents: Sequence[Intent], *, over_s: float) -> None:
        """Submit all intents in bursts spread over a time; returns when each is answered."""
        started = time.monotonic()
        numbered = iter(enumerate(intents))
        pause_s = over_s / max(1, len(intents))

        async def client() -> None:
            for number, intent in numbered:
                due = started + number // BURST * BURST * pause_s
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await self._place(intent)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(CLIENTS):
                    group.create_task(client())
        finally:
            await self._client.aclose()

    async def _place(self, intent: Intent) -> None:
        answer = await self._until_answered(intent)
        if self._chance.random() < DISTRUST:
            again = await self._until_answered(intent)
            if again != answer:
                raise ContractBrokenError(f"the same key got two answers: {answer}, then {again}")
        self.answers.append(answer)

    async def _until_answered(self, intent: Intent) -> Answer:
        give_up = time.monotonic() + GIVE_UP_S
        while time.monotonic() < give_up:
            try:
                response = await self._client.post(
                    "/api/v1/orders", json=intent.body, headers={"Idempotency-Key": intent.key}
                )
            except httpx.HTTPError:
                response = None
            if response is not None and response.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                return _answer(intent.key, response)
            self.repeats += 1
            await asyncio.sleep(REPEAT_BASE_S * (1 + self._chance.random()))
        raise ContractBrokenError(f"{intent.key} was not answered for {GIVE_UP_S:g} s")


def _answer(key: str, response: httpx.Response) -> Answer:
    said = response.json()
    if response.status_code == httpx.codes.ACCEPTED:
        return Answer(key=key, order_id=said["order_id"], tag=said["tag"])
    return Answer(key=key, refusal=f"{response.status_code} {said.get('code')}")
