"""The command line: what it says, what it does once, and one line for what it cannot do."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from app.services.dead_letters import DeadLetters
from tests.harness.desk import desk, environment, settings
from tests.harness.exchange import PROJECT_ROOT

ROLES = ("api", "worker", "keeper", "scheduler", "feed", "exchange")


def sauda(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=PROJECT_ROOT,
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"} | (env or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def env(database_url: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    return environment(settings(database_url, redis_url, data_dir=tmp_path))


def test_help_names_every_role_and_command() -> None:
    shown = sauda("--help")
    assert shown.returncode == 0
    for name in (*ROLES, "admin", "account", "sample", "migrate", "replay", "demo"):
        assert f" {name} " in shown.stdout, name


def test_wrong_settings_are_one_line_that_names_them() -> None:
    wrong = sauda("worker", env={"SAUDA_SECRET_KEY": "hunter2", "SAUDA_API_PORT": "0"})
    assert wrong.returncode == 1
    (line,) = wrong.stderr.strip().splitlines()
    for name in ("SAUDA_DATABASE_URL", "SAUDA_REDIS_URL", "SAUDA_SECRET_KEY", "SAUDA_API_PORT"):
        assert name in line
    assert "hunter2" not in line


def test_a_database_that_is_away_is_one_line(env: dict[str, str]) -> None:
    away = sauda("account", "list", env=env | {"SAUDA_DATABASE_URL": "postgresql+asyncpg://x:y@127.0.0.1:1/z"})
    assert away.returncode == 1
    assert "scripts/run" in away.stderr
    assert len(away.stderr.strip().splitlines()) == 1


def test_setting_up_twice_changes_nothing(env: dict[str, str]) -> None:
    assert sauda("migrate", env=env).returncode == 0
    first, second = sauda("sample", "load", env=env), sauda("sample", "load", env=env)
    assert (first.returncode, second.returncode) == (0, 0)
    assert "created" in first.stderr
    assert "created" not in second.stderr
    listed = sauda("account", "list", env=env)
    assert listed.stdout.split() == ["paper", "PAPER", "ACTIVE", "LOGGED_OUT", "-"]
    admin = sauda("admin", "create", "--if-none", env=env)
    assert admin.stdout.startswith("user admin, password ")
    assert sauda("admin", "create", "--if-none", env=env).stdout == ""


def test_what_cannot_be_done_is_one_line_and_exit_code_1(env: dict[str, str]) -> None:
    assert sauda("account", "add-paper", "a", env=env).returncode == 0
    assert sauda("account", "add-paper", "a", "--if-none", env=env).returncode == 0
    assert sauda("admin", "create", "--username", "u", env=env).returncode == 0
    for arguments, said in (
        (("account", "add-paper", "a"), "there is an account 'a' already"),
        (("admin", "create", "--username", "u"), "there is a user 'u' already"),
        (("admin", "reset-password", "nobody"), "there is no user 'nobody'"),
        (("replay", "2019-01-05"), "no bars of 2019-01-05"),
        (("replay", "monday"), "'monday' is not a day"),
    ):
        answer = sauda(*arguments, env=env)
        assert answer.returncode == 1, arguments
        assert said in answer.stderr
        assert len(answer.stderr.strip().splitlines()) == 1
    given = sauda("admin", "reset-password", "u", env=env)
    assert given.stdout.startswith("user u, password ")


def test_the_days_of_the_sample_are_listed(env: dict[str, str]) -> None:
    days = sauda("replay", "--list-days", env=env).stdout.split()
    assert days[0] == "2019-01-01"
    assert len(days) == len(set(days)) > 200
    assert days == sorted(days)


async def test_a_replay_is_requested_without_waiting(database_url: str, redis_url: str, env: dict[str, str]) -> None:
    async with desk(database_url, redis_url, account=False) as made:
        assert sauda("replay", "sample", env=env).returncode == 0
        (row,) = await made.rows("SELECT state, day FROM replays")
        assert (row["state"], row["day"].isoformat()) == ("REQUESTED", "2019-01-01")


async def test_parked_commands_and_alerts_are_listed_and_settled(
    database_url: str, redis_url: str, env: dict[str, str]
) -> None:
    async with desk(database_url, redis_url) as made:
        letters = DeadLetters(uow=made.uow, doorbell=made.doorbell)
        commands = []
        for _ in range(2):
            answer = await made.place()
            commands.append(str((await made.command(answer.order_id))["id"]))
            assert await letters.park(UUID(commands[-1]), reason="broker_logged_out", actor="keeper")
        listed = sauda("dead-letters", "list", env=env).stdout.splitlines()
        assert [line.split("\t")[0] for line in listed] == commands[::-1]
        told = sauda("alerts", "list", env=env).stdout.splitlines()
        assert ["COMMAND_PARKED" in line and " IST\topen\t" in line for line in told] == [True, True]

        for verb, command in (("requeue", commands[0]), ("close", commands[1])):
            assert sauda("dead-letters", verb, command, "--reason", "looked at it", env=env).returncode == 0
        again = sauda("dead-letters", "close", commands[1], "--reason", "looked at it", env=env)
        assert (again.returncode, again.stderr.strip()) == (1, f"sauda: command {commands[1]} is not parked")
        statuses = [row["status"] for row in await made.rows("SELECT status FROM orders ORDER BY id")]
        assert statuses == ["PENDING", "CANCELLED"]
        audited = [row["action"] for row in await made.rows("SELECT action FROM audit_log ORDER BY id")]
        assert len(audited) == 2
