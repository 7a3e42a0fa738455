"""The trading rules: pure functions and frozen values. No I/O, no clock reads, no randomness, no libraries."""
