"""The clients: they post orders, change them, and repeat a request under its key until it is answered."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.chaos.intents import Change, Intent

CLIENTS = 8
BURST = 10
"""Orders come in bursts, so that several are on their way whenever something is killed."""

ANSWER_TIMEOUT_S = 3.0
GIVE_UP_S = 120.0
REPEAT_BASE_S = 0.05
DISTRUST = 0.1
"""Share of answered requests that are sent once more, by clients that do not trust the answer."""

TRIES = 4
TRY_AGAIN_S = 1.0
NOT_NOW = frozenset({"order_in_flight", "change_in_flight"})
"""Refusals after which a client asks again, under a new key."""

EVERY_NTH_CANCELS_ALL = 150
"""So many orders after each other, a client cancels what an account has of an instrument and side."""


class ContractBrokenError(Exception):
    """The API answered something that no client may ever see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How an intent was answered: with the order that it became, or with a refusal's code."""

    key: str
    order_id: str | None = None
    tag: str | None = None
    refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeAnswer:
    """How a cancel or a modification was answered; `result` is the API's word, or a refusal's code."""

    order_id: str
    is_cancel: bool
    taken: bool
    result: str


class Clients:
    """Several concurrent clients of one API."""

    def __init__(self, api_url: str, token: str, *, seed: int) -> None:
        self.answers: list[Answer] = []
        self.changes: list[ChangeAnswer] = []
        self.repeats: Counter[str] = Counter()
        """How often a request was repeated, by why it had to be."""
        self._chance = random.Random(seed)
        self._client = httpx.AsyncClient(
            base_url=api_url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=ANSWER_TIMEOUT_S,
            trust_env=False,
        )

    async def submit(self, intents: Sequence[Intent], *, over_s: float) -> None:
        """Submit all intents in bursts spread over a time; returns when each, and each change, is answered."""
        started = time.monotonic()
        numbered = iter(enumerate(intents))
        pause_s = over_s / max(1, len(intents))

        async def client(changing: asyncio.TaskGroup) -> None:
            for number, intent in numbered:
                due = started + number // BURST * BURST * pause_s
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                order_id = await self._place(intent)
                if order_id is not None:
                    for change in intent.changes:
                        changing.create_task(self._change(order_id, change))
                if number % EVERY_NTH_CANCELS_ALL == EVERY_NTH_CANCELS_ALL - 1:
                    changing.create_task(self._cancel_all(intent))

        try:
            async with asyncio.TaskGroup() as changing, asyncio.TaskGroup() as placing:
                for _ in range(CLIENTS):
                    placing.create_task(client(changing))
        finally:
            await self._client.aclose()

    async def _place(self, intent: Intent) -> str | None:
        body: dict[str, str | int] = dict(intent.body)
        if intent.deadline_in_s is not None:
            body["deadline"] = (datetime.now(UTC) + timedelta(seconds=intent.deadline_in_s)).isoformat()
        response = await self._trusting_little("POST", "/api/v1/orders", intent.key, body)
        said = response.json()
        if response.status_code == httpx.codes.ACCEPTED:
            answer = Answer(key=intent.key, order_id=said["order_id"], tag=said["tag"])
        else:
            answer = Answer(key=intent.key, refusal=_code(response))
        self.answers.append(answer)
        return answer.order_id

    async def _change(self, order_id: str, change: Change) -> None:
        await asyncio.sleep(change.after_s)
        is_cancel = change.body is None
        method, path = ("POST", f"/api/v1/orders/{order_id}/cancel") if is_cancel else ("PATCH", _order(order_id))
        for attempt in range(TRIES):
            key = f"{change.key}-{attempt}"
            response = await self._trusting_little(method, path, key, change.body)
            taken = response.status_code == httpx.codes.ACCEPTED
            result = str(response.json().get("result", "")) if taken else _code(response)
            self.changes.append(ChangeAnswer(order_id=order_id, is_cancel=is_cancel, taken=taken, result=result))
            if taken or result.partition(" ")[2] not in NOT_NOW:
                return
            await asyncio.sleep(TRY_AGAIN_S * (1 + self._chance.random()))

    async def _cancel_all(self, like: Intent) -> None:
        body = {name: like.body[name] for name in ("account", "instrument", "side")}
        response = await self._trusting_little("POST", "/api/v1/orders/cancel", f"{like.key}-all", body)
        if response.status_code != httpx.codes.ACCEPTED:
            raise ContractBrokenError(f"a cancel of many was answered {response.status_code}: {response.text[:500]}")
        for one in response.json()["results"]:
            result = str(one["result"])
            taken = result in TAKEN_RESULTS
            self.changes.append(ChangeAnswer(order_id=one["order_id"], is_cancel=True, taken=taken, result=result))

    async def _trusting_little(
        self, method: str, path: str, key: str, body: Mapping[str, object] | None
    ) -> httpx.Response:
        """Ask until answered, and now and then once more: the same key has the same answer."""
        first = await self._until_answered(method, path, key, body)
        if self._chance.random() < DISTRUST:
            again = await self._until_answered(method, path, key, body)
            if (again.status_code, _substance(again)) != (first.status_code, _substance(first)):
                raise ContractBrokenError(f"the key {key} got two answers: {first.text}, then {again.text}")
        return first

    async def _until_answered(
        self, method: str, path: str, key: str, body: Mapping[str, object] | None
    ) -> httpx.Response:
        give_up = time.monotonic() + GIVE_UP_S
        while time.monotonic() < give_up:
            try:
                response = await self._client.request(method, path, json=body, headers={"Idempotency-Key": key})
            except httpx.HTTPError as error:
                self.repeats[type(error).__name__] += 1
            else:
                if response.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                    return response
                self.repeats[f"HTTP {response.status_code}"] += 1
            await asyncio.sleep(REPEAT_BASE_S * (1 + self._chance.random()))
        raise ContractBrokenError(f"{key} was not answered for {GIVE_UP_S:g} s")


TAKEN_RESULTS = frozenset({"cancelled", "cancel_sent", "held"})
"""What an accepted cancel is answered with: done, on its way, or kept until the placement is settled."""


def _order(order_id: str) -> str:
    return f"/api/v1/orders/{order_id}"


def _code(response: httpx.Response) -> str:
    return f"{response.status_code} {response.json().get('code')}"


def _substance(response: httpx.Response) -> Any:  # noqa: ANN401  whatever JSON it is
    return response.json()
