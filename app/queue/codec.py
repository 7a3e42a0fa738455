"""How jobs are written into Redis: JSON, because unpickling what Redis holds would run whatever somebody put there."""

import json

Json = dict[str, object]


def serialize(job: Json) -> bytes:
    """Write a job for arq's `job_serializer`. Raises `TypeError` or `ValueError` for what JSON cannot say exactly."""
    return json.dumps(job, separators=(",", ":"), allow_nan=False).encode()


def deserialize(data: bytes) -> Json:
    """Read a job for arq's `job_deserializer`. Raises `ValueError` when the data is no JSON object."""
    job = json.loads(data)
    if not isinstance(job, dict):
        raise ValueError("a job is a JSON object")  # noqa: TRY004  json raises it too: one error for unreadable data
    return job
