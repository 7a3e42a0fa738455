"""The stop-watch and the historian: what they measure, and what they object to."""

from datetime import UTC, datetime, timedelta

import pytest

from app.core.orders import OrderStatus
from app.core.transitions import OrderEvent
from app.infra.ids import new_id
from tests.chaos.history import Happened, flaws
from tests.chaos.recovery import Recoveries, p99, recoveries
from tests.harness.supervisor import Harm, Incident

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
WORKER = "worker@host:77:abc"
S, E = OrderStatus, OrderEvent
Row = tuple[OrderEvent, OrderStatus, float]

PLACED: list[Row] = [(E.CREATED, S.PENDING, 0), (E.CLAIMED, S.SUBMITTING, 1)]
DIED: list[Row] = [*PLACED, (E.CLAIM_DIED, S.UNKNOWN, 8)]
RESTING: list[Row] = [*PLACED, (E.ACCEPTED, S.PLACED, 2)]
CANCELLING: list[Row] = [*RESTING, (E.CANCEL_CLAIMED, S.PLACED, 3), (E.CANCEL_UNKNOWN, S.PLACED, 8)]


def history(rows: list[Row]) -> list[Happened]:
    return [
        Happened(event=event, status=status, at=NOON + timedelta(seconds=second), actor=WORKER)
        for event, status, second in rows
    ]


def measured(rows: list[Row], *, at_s: float, role: str = "worker", pid: int = 77) -> Recoveries:
    """Measure one history in which a process was killed at a second."""
    at = NOON + timedelta(seconds=at_s)
    incident = Incident(harm=Harm.KILL, role=role, pid=pid, at=at, by_itself=False)
    return recoveries({new_id(): history(rows)}, [incident])


@pytest.mark.parametrize(
    ("rows", "at_s", "found", "absent", "never"),
    [
        ([*DIED, (E.ACCEPTED, S.PLACED, 9)], 1.5, [7.5], [], 0),
        ([*DIED, (E.FULL_FILL, S.COMPLETE, 9)], 1.5, [7.5], [], 0),
        ([*DIED, (E.PROVEN_ABSENT, S.PENDING, 21.5)], 1.5, [], [20.0], 0),
        (DIED, 1.5, [], [], 1),
        ([*DIED, (E.ACCEPTED, S.PLACED, 12)], 9.0, [], [], 0),
        (RESTING, 1.5, [0.5], [], 0),
        (RESTING, 0.5, [], [], 0),
        (RESTING, 2.5, [], [], 0),
        ([*CANCELLING, (E.CANCEL_ACCEPTED, S.PLACED, 9)], 3.5, [5.5], [], 0),
        ([*CANCELLING, (E.BROKER_CANCELLED, S.CANCELLED, 9)], 3.5, [5.5], [], 0),
        ([*RESTING, (E.MODIFY_CLAIMED, S.PLACED, 3), (E.MODIFY_ABSENT, S.PLACED, 9)], 3.5, [], [5.5], 0),
        ([*RESTING, (E.MODIFY_CLAIMED, S.PLACED, 3), (E.BROKER_CANCELLED, S.CANCELLED, 9)], 3.5, [], [5.5], 0),
    ],
)
def test_the_time_runs_from_the_harm_until_the_claimed_command_is_decided(
    rows: list[Row], at_s: float, found: list[float], absent: list[float], never: int
) -> None:
    result = measured(rows, at_s=at_s)
    assert (result.found, result.absent, result.never) == (found, absent, never)


@pytest.mark.parametrize(("role", "pid"), [("keeper", 77), ("worker", 78)])
def test_a_process_that_held_no_claim_is_not_measured(role: str, pid: int) -> None:
    result = measured(DIED, at_s=1.5, role=role, pid=pid)
    assert (result.found, result.absent, result.never) == ([], [], 0)


def test_the_99th_percentile_is_a_sample_by_nearest_rank() -> None:
    assert (p99([]), p99([3.0]), p99([float(n) for n in range(1, 201)])) == (None, 3.0, 198.0)


def test_a_history_that_follows_the_table_has_no_flaw() -> None:
    assert flaws(history(CANCELLING), S.PLACED) == []


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([], S.PENDING),
        (PLACED, S.PLACED),
        ([*PLACED, (E.PROVEN_ABSENT, S.PENDING, 2)], S.PENDING),
        ([*PLACED, (E.ACCEPTED, S.COMPLETE, 2)], S.COMPLETE),
        ([*RESTING, (E.CANCEL_REQUESTED, S.CANCELLED, 3)], S.CANCELLED),
    ],
)
def test_a_change_of_status_without_its_event_or_against_the_table_is_seen(
    rows: list[Row], status: OrderStatus
) -> None:
    assert flaws(history(rows), status)


def test_two_orders_at_the_broker_for_one_of_ours_are_seen() -> None:
    first, *rest = history(RESTING)
    twice = [
        first,
        *rest,
        Happened(event=E.DISCOVERED, status=S.PLACED, at=NOON, actor="keeper", broker_order_id="1"),
        Happened(event=E.DISCOVERED, status=S.PLACED, at=NOON, actor="keeper", broker_order_id="2"),
    ]
    assert len(flaws(twice, S.PLACED)) == 1
