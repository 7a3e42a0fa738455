"""The plans: what a run of each length breaks at least, and what the clients ask for."""

import pytest

from app.core.orders import OrderType
from app.infra.failpoints import SEED_VARIABLE, VARIABLE, arm
from tests.chaos.intents import INSTRUMENTS, make_intents
from tests.chaos.plan import ARMED, Armoury, Plan, make_plan

LONG_STOP_S = 12.5


def plan(orders: int) -> Plan:
    return make_plan(orders, long_stop_s=LONG_STOP_S)


@pytest.mark.parametrize(("orders", "kills", "stops", "wipes"), [(80, 12, 3, 2), (500, 12, 3, 2), (5_000, 90, 25, 6)])
def test_a_run_breaks_at_least_so_much(orders: int, kills: int, stops: int, wipes: int) -> None:
    made = plan(orders)
    assert (made.kills, made.stops, made.wipes) == (kills, stops, wipes)
    assert min(made.pg_restarts, made.pg_pauses, made.redis_restarts, made.exchange_kills, made.clock_jumps) >= 1


def test_a_long_run_restarts_postgresql_three_times_and_takes_its_time() -> None:
    made = plan(5_000)
    assert made.pg_restarts >= 3
    assert made.lasts_s >= made.actions * 0.7


def test_some_processes_are_armed_until_the_arms_are_laid_down() -> None:
    armoury = Armoury(seed=3)
    given = [armoury.environment("worker") for _ in range(500)]
    armed = [environment for environment in given if environment]
    assert len(armed) == pytest.approx(ARMED * len(given), rel=0.2)
    assert {SEED_VARIABLE, VARIABLE} == set(armed[0])
    assert armoury.environment("exchange") == {}
    armoury.lay_down()
    assert not any(armoury.environment("worker") for _ in range(50))


@pytest.mark.parametrize("role", ["worker", "api", "keeper", "feed", "scheduler"])
def test_the_fail_points_that_are_given_exist(role: str) -> None:
    armoury = Armoury(seed=1)
    given = next(environment for _ in range(100) if (environment := armoury.environment(role)))
    try:
        arm(given)
    finally:
        arm({})


def test_the_same_seed_asks_for_the_same() -> None:
    accounts = ("a", "b")
    assert make_intents(50, seed=4, accounts=accounts) == make_intents(50, seed=4, accounts=accounts)
    assert make_intents(50, seed=4, accounts=accounts) != make_intents(50, seed=5, accounts=accounts)


def test_the_intents_are_a_mix_of_everything() -> None:
    intents = make_intents(2_000, seed=1, accounts=("a", "b"))
    changes = [change for intent in intents for change in intent.changes]
    assert {intent.body["order_type"] for intent in intents} == set(OrderType)
    assert {intent.body["instrument"] for intent in intents} == {traded.key for traded in INSTRUMENTS}
    assert {intent.body["purpose"] for intent in intents} == {"ENTRY", "EXIT"}
    assert sum(change.body is None for change in changes) == pytest.approx(0.195 * len(intents), rel=0.2)
    assert sum(change.body is not None for change in changes) == pytest.approx(0.1 * len(intents), rel=0.2)
    assert sum(intent.deadline_in_s is not None for intent in intents) == pytest.approx(0.08 * len(intents), rel=0.3)
    assert len({change.key for change in changes}) == len(changes)
