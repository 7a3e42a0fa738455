"""What a worker knows of a job: that it is claimed, and how it ended."""

from dataclasses import dataclass

from app.core.orders import Lane

PUT_OFF_S_MIN = 0.01
PUT_OFF_S_MAX = 3600.0


@dataclass(frozen=True, slots=True)
class PutOff:
    """A job returns this to be run again after `delay_s` seconds, with the rank it has."""

    delay_s: float

    @property
    def delay_ms(self) -> int:
        """The delay within its bounds: a job that is put off by nothing must not spin."""
        return int(min(max(self.delay_s, PUT_OFF_S_MIN), PUT_OFF_S_MAX) * 1000)


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job that this worker holds the lease of. `payload` is what the producer wrote."""

    job_id: str
    lane: Lane
    score: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class FinishedJob:
    """How a job ended: done, or put off by `delay_ms`."""

    job_id: str
    lane: Lane
    delay_ms: int | None = None
