import pickle  # noqa: TID251  to prove that it is not read
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from arq.jobs import DeserializationError, SerializationError, deserialize_job_raw, serialize_job

from app.queue.codec import deserialize, serialize


def test_a_job_comes_back_as_it_was_written() -> None:
    data = serialize_job("job", (1, "two"), {"v": 1, "id": "x"}, None, 1_700_000_000_000, serializer=serialize)
    name, args, kwargs, job_try, enqueued_ms = deserialize_job_raw(data, deserializer=deserialize)
    assert (name, list(args), kwargs, job_try, enqueued_ms) == (
        "job",
        [1, "two"],
        {"v": 1, "id": "x"},
        None,
        1_700_000_000_000,
    )


@pytest.mark.parametrize("value", [Decimal("1.05"), datetime(2026, 1, 1, tzinfo=UTC), float("nan"), object()])
def test_what_json_cannot_say_exactly_is_refused(value: object) -> None:
    with pytest.raises(SerializationError):
        serialize_job("job", (), {"value": value}, None, 1, serializer=serialize)


@pytest.mark.parametrize("data", [pickle.dumps({"f": "job"}), b"", b"[]", b"1", b"{", b"\xff\xfe", b"{}"])
def test_a_pickle_or_garbage_is_not_read(data: bytes) -> None:
    with pytest.raises(DeserializationError):
        deserialize_job_raw(data, deserializer=deserialize)
