"""Brokers: facts, guards and one folder for each adapter. The way in is `registry.build_broker`."""
