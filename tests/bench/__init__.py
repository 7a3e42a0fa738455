"""Benchmarks: `python -m tests.bench SUITE --json` prints one JSON object as its last line."""
