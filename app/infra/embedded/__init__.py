"""Real PostgreSQL and Redis servers, run by the project itself where nobody installed any."""
