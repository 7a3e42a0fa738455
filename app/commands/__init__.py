"""The commands of administration: each does one thing, says what it did, and may be repeated."""
