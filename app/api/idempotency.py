"""The idempotency key of a request, and how a repeated answer is marked."""

from typing import Annotated

from fastapi import Header

IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=128,
        pattern=r"^[\x21-\x7e]+$",
        description="Your own unique key of this request: repeating it with the key never does it a second time",
    ),
]

REPLAYED_HEADER: dict[str, dict[str, object]] = {
    "Idempotency-Replayed": {
        "description": "`true` where this is the answer that the key got before",
        "schema": {"type": "string"},
    }
}
"""The OpenAPI entry of the header that marks a repeated answer."""


def replay_headers(*, replayed: bool) -> dict[str, str]:
    """Return the header that marks a repeated answer; none for a first one."""
    return {"Idempotency-Replayed": "true"} if replayed else {}
