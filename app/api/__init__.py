"""The management API: translates HTTP to use-cases and back, and holds no rules of its own."""
