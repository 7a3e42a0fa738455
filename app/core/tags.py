"""The tag that an order carries at the broker, and client order ids made from other facts."""

import base64
import hashlib

TAG_PREFIX = "SD"
TAG_LENGTH = 18
"""Prefix plus 16 base-32 characters: 80 hashed bits, shorter than the 20 characters that Angel One allows."""


def order_tag(client_order_id: str) -> str:
    """Return the broker tag of an order: a pure function of its client order id, so a replay repeats it."""
    digest = hashlib.sha256(client_order_id.encode()).digest()[:10]
    return TAG_PREFIX + base64.b32encode(digest).decode()


def is_our_tag(tag: str) -> bool:
    """Whether a tag in a broker's book has the shape of ours."""
    return len(tag) == TAG_LENGTH and tag.startswith(TAG_PREFIX)


def client_order_id(*parts: str) -> str:
    """Return a deterministic client order id for the given facts (run, strategy, instrument, bar, leg)."""
    return "c" + hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:31]
