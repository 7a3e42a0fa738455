"""The machinery that every role needs: settings, clock, database, Redis, logs, leases, life cycle."""
