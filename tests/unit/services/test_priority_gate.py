"""Ordinary orders give way to urgent ones, and never stand still."""

import asyncio

import pytest

from app.services import priority_gate
from app.services.priority_gate import PriorityGate


async def test_an_ordinary_order_goes_on_at_once_while_nothing_is_urgent() -> None:
    async with asyncio.timeout(1):
        await PriorityGate().give_way()


async def test_an_ordinary_order_waits_until_the_last_urgent_one_is_through() -> None:
    gate = PriorityGate()
    with gate.urgent():
        with gate.urgent():
            waiting = asyncio.create_task(gate.give_way())
        await asyncio.sleep(0)
        assert not waiting.done()
    async with asyncio.timeout(1):
        await waiting


async def test_urgent_orders_without_end_do_not_hold_ordinary_ones_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priority_gate, "GIVE_WAY_S_MAX", 0.01)
    gate = PriorityGate()
    with gate.urgent():
        async with asyncio.timeout(1):
            await gate.give_way()
