import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.orders import Lane
from app.queue.order_queue import OrderQueue
from app.queue.priority_queue import PriorityQueue


@pytest.mark.parametrize(
    ("priority_running", "standard_running", "priority_free", "standard_free"),
    [
        (0, 0, 10, 7),
        (0, 7, 3, 0),
        (3, 7, 0, 0),
        (5, 0, 5, 5),
        (10, 0, 0, 0),
        (4, 6, 0, 0),
        (1, 6, 3, 1),
    ],
)
def test_the_standard_lane_leaves_the_reserved_slots_alone(
    priority_running: int, standard_running: int, priority_free: int, standard_free: int
) -> None:
    running = {Lane.PRIORITY: priority_running, Lane.STANDARD: standard_running}
    assert PriorityQueue().free_slots(slots=10, priority_slots=3, running=running) == priority_free
    assert OrderQueue().free_slots(slots=10, priority_slots=3, running=running) == standard_free


@given(st.integers(2, 200), st.data())
def test_filling_the_free_slots_never_takes_more_than_there_are(slots: int, data: st.DataObject) -> None:
    reserved = data.draw(st.integers(1, slots - 1))
    standard = data.draw(st.integers(0, slots - reserved))
    priority = data.draw(st.integers(0, slots - standard))
    running = {Lane.PRIORITY: priority, Lane.STANDARD: standard}
    free = OrderQueue().free_slots(slots=slots, priority_slots=reserved, running=running)
    assert 0 <= free <= slots - priority - standard
    assert standard + free <= slots - reserved
    assert PriorityQueue().free_slots(slots=slots, priority_slots=reserved, running=running) >= free
