"""The adapter of Angel One's SmartAPI."""
