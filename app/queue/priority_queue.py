"""The priority lane: exits, cancels and whatever else may not wait behind ordinary orders."""

from collections.abc import Mapping

from app.core.orders import Lane
from app.queue.lanes import lane_keys


class PriorityQueue:
    """May use every slot of a worker."""

    lane = Lane.PRIORITY
    name = lane_keys(Lane.PRIORITY).ready

    def free_slots(self, *, slots: int, priority_slots: int, running: Mapping[Lane, int]) -> int:  # noqa: ARG002  both lanes are asked alike
        """Return how many more jobs of this lane a worker may start."""
        return max(0, slots - sum(running.values()))
