"""Starts everything on one machine, watches a replay, and stops everything again."""
