"""A stand-in for the application, put in its place as `app/__main__.py`: the launcher is proved apart from the roles.

It connects to the real servers that the launcher started, answers readiness, and ends on a signal.
"""

import asyncio
import http.server
import os
import signal
import sys
import threading

import asyncpg
import redis


def check_servers() -> None:
    """Fail unless the given PostgreSQL and Redis answer."""

    async def ask() -> None:
        connection = await asyncpg.connect(os.environ["SAUDA_DATABASE_URL"].replace("+asyncpg", ""))
        await connection.execute("create table if not exists starts (number serial)")
        await connection.execute("insert into starts default values")
        await connection.close()

    asyncio.run(ask())
    redis.Redis.from_url(os.environ["SAUDA_REDIS_URL"]).ping()


class Ready(http.server.BaseHTTPRequestHandler):
    """Answers every question with 200."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


def main(role: str, arguments: list[str]) -> int:
    """Do what the launcher asks of the application."""
    if role == "prepare":
        check_servers()
        print("administrator admin, password xyz")
    elif role == "replay" and "--list-days" in arguments:
        print("2019-01-01")
    elif role == "replay":
        print("replaying", file=sys.stderr, flush=True)
        if arguments[0] == "broken":
            print("no such day: broken", file=sys.stderr)
            return 3
        print('{"day": "2019-01-01"}')
    else:
        return serve(role)
    return 0


def serve(role: str) -> int:
    """Run as a role until a signal comes."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    if role == "api":
        server = http.server.HTTPServer(("127.0.0.1", int(os.environ["SAUDA_API_PORT"])), Ready)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
