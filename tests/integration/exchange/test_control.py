"""The control endpoints: invisible without the key, exact with it, and never a stack trace."""

import dataclasses
from pathlib import Path

import httpx
import pytest

from app.exchange.server import build_app
from tests.harness.exchange import CONTROL_KEY, PaperClient
from tests.harness.smartapi import WireClient
from tests.integration.exchange.conftest import Desk

ACCOUNT = {name: getattr(PaperClient(), name) for name in PaperClient.__slots__}
PRICE = {"exchange": "NSE", "token": "11915", "price": "150.00", "volume": None}
STEP = {"run": "R1", "step": 1, "time": "2019-01-01T03:45:00Z", "prices": []}
RULE = {"kind": "latency", "probability": 1, "ops": ["any"]}


@pytest.mark.parametrize("key", ["", "wrong", "schlüssel"])
async def test_without_the_key_the_control_endpoints_do_not_seem_to_exist(wire: WireClient, key: str) -> None:
    for path in ("/control/mode", "/control/accounts"):
        answer = await wire.http.post(path, json={}, headers={"X-Control-Key": key.encode()})
        assert (answer.status_code, answer.text) == (404, "Not Found")


async def test_without_a_configured_key_there_are_no_control_endpoints(desk: Desk, tmp_path: Path) -> None:
    settings = dataclasses.replace(desk.settings, control_key="", ledger_path=tmp_path / "other.sqlite3")
    app = build_app(settings)
    desk.ledgers.append(app.state.ledger)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://exchange") as http:
        for key in ("", CONTROL_KEY):
            answer = await http.post("/control/mode", json={"mode": "free"}, headers={"X-Control-Key": key})
            assert answer.status_code == 404


async def test_opening_the_same_account_twice_changes_nothing_and_another_secret_is_a_conflict(
    wire: WireClient,
) -> None:
    again = await wire.control("POST", "/control/accounts", ACCOUNT)
    assert (again.status_code, again.json()) == (200, {"client_code": "P100", "created": False})
    for changes in ({"pin": "9999"}, {"totp_secret": "A" * 32}, {"api_key": "x"}, {"cash": "1"}):
        conflict = await wire.control("POST", "/control/accounts", ACCOUNT | changes)
        assert (conflict.status_code, conflict.json()["code"]) == (409, "account_conflict")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        *(
            ("POST", "/control/accounts", ACCOUNT | changes)
            for changes in (
                {"client_code": "a b"},
                {"client_code": ""},
                {"pin": 4321},
                {"totp_secret": "short"},
                {"totp_secret": "1" * 32},
                {"cash": "-1"},
                {"cash": "NaN"},
                {"api_key": None},
            )
        ),
        ("POST", "/control/mode", {"mode": "paused"}),
        ("POST", "/control/mode", ["free"]),
        ("POST", "/control/tag-echo", {}),
        ("POST", "/control/prices", {}),
        ("POST", "/control/prices", {"prices": [1]}),
        *(
            ("POST", "/control/prices", {"prices": [PRICE | changes]})
            for changes in (
                {"token": "1"},
                {"price": "0"},
                {"price": "-1"},
                {"price": "x"},
                {"price": None},
                {"volume": -1},
                {"volume": 1.5},
                {"volume": "many"},
                {"volume": 10**13},
            )
        ),
        ("POST", "/control/prices", {"prices": [PRICE, PRICE]}),
        *(
            ("POST", "/control/step", STEP | changes)
            for changes in (
                {"time": "2019-01-01T03:45:00"},
                {"time": "yesterday"},
                {"time": "0001-01-01T00:00:00+23:00"},
                {"step": -1},
                {"step": "x"},
                {"run": ""},
                {"prices": None},
            )
        ),
        *(
            ("PUT", "/control/faults", {"seed": 1, "rules": [RULE | changes]})
            for changes in (
                {"kind": "earthquake"},
                {"probability": 2},
                {"ops": ["dance"]},
                {"ops": "any"},
                {"delay_ms": -1},
                {"delay_ms": 10**9},
                {"limit": -1},
            )
        ),
        ("PUT", "/control/faults", {"rules": "none"}),
    ],
)
async def test_bad_control_requests_are_answered_with_the_field_that_is_wrong(
    wire: WireClient, method: str, path: str, body: object
) -> None:
    answer = await wire.control(method, path, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_field")
    assert "Traceback" not in answer.text


async def test_garbage_and_oversized_control_bodies_are_refused(wire: WireClient) -> None:
    headers = {"X-Control-Key": CONTROL_KEY}
    garbage = await wire.http.post("/control/mode", content=b"{", headers=headers)
    assert garbage.status_code == 422
    large = await wire.http.post("/control/mode", content=b" " * (4 * 1024 * 1024 + 1), headers=headers)
    assert large.status_code == 413


async def test_an_unknown_client_has_no_ledger(wire: WireClient) -> None:
    for path in ("/control/ledger/P999", "/control/ledger/P999/summary"):
        assert (await wire.control("GET", path)).status_code == 404


async def test_the_fault_rules_can_be_read_back(wire: WireClient) -> None:
    rules = [
        {"kind": "latency", "probability": 0.5, "ops": ["books", "place"], "delay_ms": 20, "duration_ms": 5, "limit": 3}
    ]
    set_rules = (await wire.control("PUT", "/control/faults", {"seed": 7, "rules": rules})).json()
    assert set_rules == {"seed": 7, "rules": [rules[0] | {"fired": 0}]}
    assert (await wire.control("GET", "/control/faults")).json() == set_rules


async def test_health_says_mode_and_market_time(wire: WireClient) -> None:
    assert (await wire.get("/health")).json() == {"status": "ok", "mode": "free", "time": "2026-09-21T05:00:00+00:00"}
    await wire.control("POST", "/control/mode", {"mode": "lockstep"})
    await wire.control("POST", "/control/step", STEP)
    assert (await wire.get("/health")).json()["time"] == "2019-01-01T03:45:00+00:00"
