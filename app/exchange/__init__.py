"""The paper exchange: a local market with its own ledger that speaks Angel One's SmartAPI on the wire."""
