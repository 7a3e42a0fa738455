"""What the environment may say about failpoints, and that without it they do nothing."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.infra import failpoints
from app.infra.failpoints import BadFailpoints, Point, arm, is_armed, reach

APP = Path(failpoints.__file__).parents[1]


@pytest.fixture(autouse=True)
def signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[signal.Signals]]:
    """Collect the signals that the process would send to itself, and leave nothing armed."""
    sent: list[signal.Signals] = []
    monkeypatch.setattr(failpoints.os, "kill", lambda pid, number: sent.append(number) if pid == os.getpid() else None)
    yield sent
    arm({})


def test_nothing_is_armed_by_default(signals: list[signal.Signals]) -> None:
    arm({})
    for point in Point:
        assert not is_armed(point)
        reach(point)
    assert signals == []


def test_only_the_named_points_act(signals: list[signal.Signals]) -> None:
    arm({"SAUDA_FAILPOINTS": " worker.after_claim=kill; uow.before_commit = stop@1 ;"})

    reach(Point.WORKER_BEFORE_CLAIM)
    assert signals == []
    reach(Point.WORKER_AFTER_CLAIM)
    reach(Point.UOW_BEFORE_COMMIT)
    assert signals == [signal.SIGKILL, signal.SIGSTOP]


def test_a_probability_acts_about_that_often(signals: list[signal.Signals]) -> None:
    arm({"SAUDA_FAILPOINTS": "api.after_save=kill@0.1", "SAUDA_FAILPOINTS_SEED": "7"})
    for _ in range(2000):
        reach(Point.API_AFTER_SAVE)

    assert 100 < len(signals) < 300


def test_the_seed_repeats_what_one_process_does(signals: list[signal.Signals]) -> None:
    def hits(seed: str) -> list[bool]:
        arm({"SAUDA_FAILPOINTS": "api.after_save=stop@0.5", "SAUDA_FAILPOINTS_SEED": seed})
        drawn = []
        for _ in range(50):
            before = len(signals)
            reach(Point.API_AFTER_SAVE)
            drawn.append(len(signals) > before)
        return drawn

    assert hits("1") == hits("1") != hits("2")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("worker.after_lunch=kill", "there is no point 'worker.after_lunch'; there are worker.before_claim"),
        ("worker.after_claim=explode", "'worker.after_claim=explode' is not like"),
        ("worker.after_claim", "is not like"),
        ("worker.after_claim=kill@often", "is not like"),
        ("worker.after_claim=kill@2", "must lie between 0 and 1"),
        ("worker.after_claim=kill@nan", "must lie between 0 and 1"),
    ],
)
def test_what_cannot_be_read_arms_nothing_and_says_why(text: str, says: str) -> None:
    with pytest.raises(BadFailpoints, match=says):
        arm({"SAUDA_FAILPOINTS": f"uow.after_commit=kill;{text}"})

    assert not any(is_armed(point) for point in Point)


@pytest.mark.parametrize("point", Point)
def test_every_point_is_reached_somewhere(point: Point) -> None:
    sources = (path.read_text(encoding="utf-8") for path in APP.rglob("*.py") if path.name != "failpoints.py")

    assert any(f"reach(Point.{point.name})" in source for source in sources)
