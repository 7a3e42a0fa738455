"""Delays that grow with failures, are jittered, and stay bounded."""

import random
from collections import OrderedDict

_DOUBLINGS_MAX = 30


def backoff_s(failures: int, *, base_s: float, cap_s: float) -> float:
    """Return how long to wait after so many failures in a row: doubled each time, half of it by chance."""
    doublings = min(max(failures - 1, 0), _DOUBLINGS_MAX)
    ceiling = min(cap_s, base_s * float(1 << doublings))
    return ceiling * random.uniform(0.5, 1.0)  # noqa: S311  spreads load, guards nothing


class FailureCounts:
    """Failures in a row of each job, for the most recent `capacity` failing jobs."""

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._failures: OrderedDict[str, int] = OrderedDict()

    def failed(self, job_id: str) -> int:
        """Count a failure and return how many there were in a row."""
        failures = self._failures.pop(job_id, 0) + 1
        self._failures[job_id] = failures
        if len(self._failures) > self._capacity:
            self._failures.popitem(last=False)
        return failures

    def succeeded(self, job_id: str) -> None:
        """Forget the failures of a job."""
        self._failures.pop(job_id, None)
