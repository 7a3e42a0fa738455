"""A broker for measurements: it takes every order at once and trades none."""
