import itertools

from app.brokers.pacing import FIRST_S, FIRST_S_MAX, RETURNS_PER_SECOND, Pacing


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def test_each_comes_back_at_a_time_of_its_own() -> None:
    pacing = Pacing(Time().monotonic)
    waits = [pacing.wait_s() for _ in range(500)]
    assert waits[0] == FIRST_S
    assert min(late - early for early, late in itertools.pairwise(waits)) > 0.99 / RETURNS_PER_SECOND


def test_the_wait_grows_while_the_trouble_lasts_and_is_bounded() -> None:
    time = Time()
    pacing = Pacing(time.monotonic)
    waits = []
    for _ in range(10):
        waits.append(pacing.wait_s())
        time.now += waits[-1]
    assert waits == sorted(waits)
    assert waits[-1] == FIRST_S_MAX


def test_nobody_comes_back_sooner_than_it_makes_sense() -> None:
    assert Pacing(Time().monotonic).wait_s(7.0) == 7.0


def test_after_the_trouble_it_begins_anew() -> None:
    time = Time()
    pacing = Pacing(time.monotonic)
    for _ in range(1000):
        pacing.wait_s()
    time.now += 60
    pacing.over()
    assert pacing.wait_s() == FIRST_S
