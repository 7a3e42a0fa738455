"""The standard lane: ordinary orders."""

from collections.abc import Mapping

from app.core.orders import Lane
from app.queue.lanes import lane_keys


class OrderQueue:
    """Leaves the reserved slots of a worker to the priority lane, however long this lane is."""

    lane = Lane.STANDARD
    name = lane_keys(Lane.STANDARD).ready

    def free_slots(self, *, slots: int, priority_slots: int, running: Mapping[Lane, int]) -> int:
        """Return how many more jobs of this lane a worker may start."""
        unused = slots - sum(running.values())
        allowed = slots - priority_slots - running[Lane.STANDARD]
        return max(0, min(unused, allowed))
