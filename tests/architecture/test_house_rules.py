"""Our own files keep the house rules, and each rule is shown to catch what it is for."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.architecture import house_rules as rules
from tests.architecture.house_rules import Fault, Source

ROOT = Path(__file__).resolve().parents[2]


def repository_files() -> list[Path]:
    """Return every file that is or would be committed."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_our_files_keep_the_rule(rule: Callable[[Source], Iterator[Fault]]) -> None:
    faults = [
        str(fault)
        for path in repository_files()
        if path.suffix == ".py"
        for fault in rule(Source.parse(path.relative_to(ROOT).as_posix(), path.read_text()))
    ]
    assert not faults, "\n".join(faults)


CAUGHT = [
    (rules.time_and_chance_are_arguments, "app/core/x.py", "from datetime import datetime\nt = datetime.now(UTC)"),
    (rules.time_and_chance_are_arguments, "app/core/x.py", "d = date.today()"),
    (rules.time_and_chance_are_arguments, "app/strategies/x.py", "import random"),
    (rules.time_and_chance_are_arguments, "app/core/x.py", "from time import monotonic"),
    (rules.time_and_chance_are_arguments, "app/core/x.py", "import uuid\ni = uuid.uuid4()"),
    (rules.core_needs_the_standard_library_alone, "app/core/x.py", "import pydantic"),
    (rules.core_needs_the_standard_library_alone, "app/core/x.py", "from sqlalchemy.orm import Mapped"),
    (rules.statuses_change_through_the_table, "app/services/x.py", "order.status = 'PLACED'"),
    (rules.statuses_change_through_the_table, "app/keeper/x.py", "a, order.status = 1, 2"),
    (rules.one_file_commits, "app/services/x.py", "async def f(c):\n    await c.commit()"),
    (rules.one_file_commits, "app/repositories/orders.py", "session.commit()"),
    (rules.money_is_never_a_float, "app/core/x.py", "price = 1.5"),
    (rules.money_is_never_a_float, "app/services/x.py", "p = float(text)"),
    (rules.money_is_never_a_float, "app/repositories/x.py", "f(price=0.05)"),
    (rules.money_is_never_a_float, "app/core/x.py", "def f(a, rate=0.1): ..."),
    (rules.cancellation_is_raised_again, "app/queue/x.py", "try:\n    f()\nexcept CancelledError:\n    pass"),
    (
        rules.cancellation_is_raised_again,
        "app/queue/x.py",
        "try:\n    f()\nexcept (OSError, BaseException):\n    log()",
    ),
    (
        rules.isolation_points_are_explained,
        "app/x.py",
        "try:\n    f()\nexcept Exception:  # noqa: " + "BLE001\n    pass",
    ),
    (rules.isolation_points_are_explained, "app/x.py", "x = 1  # pragma: " + "no cover"),
    (rules.files_and_functions_are_short, "app/x.py", "x = 1\n" * 501),
    (rules.files_and_functions_are_short, "tests/x.py", "def f():\n" + "    x = 1\n" * 70),
]

LET_THROUGH = [
    (rules.time_and_chance_are_arguments, "app/infra/clock.py", "import time\nt = time.monotonic()"),
    (rules.time_and_chance_are_arguments, "app/core/x.py", "from uuid import UUID\nclass C:\n    def now(self): ..."),
    (rules.core_needs_the_standard_library_alone, "app/core/x.py", "import hashlib\nfrom app.core.orders import Side"),
    (rules.statuses_change_through_the_table, "app/core/transitions.py", "self.status = status"),
    (rules.statuses_change_through_the_table, "app/api/x.py", "response.status_code = 202\nstatus = order.status"),
    (rules.one_file_commits, rules.COMMITTER, "await connection.commit()"),
    (rules.money_is_never_a_float, "app/services/x.py", "WAIT_S = 2.5\nlimit_s: float = 0.5\nf(timeout_s=1.0)"),
    (rules.money_is_never_a_float, "app/services/x.py", "def f(*, poll_s: float = 0.1, delay_ms=1.0): ..."),
    (rules.money_is_never_a_float, "app/services/x.py", "read_at = float('-inf')"),
    (rules.money_is_never_a_float, "app/strategies/indicators.py", "alpha = 0.5"),
    (rules.cancellation_is_raised_again, "app/x.py", "try:\n    f()\nexcept BaseException:\n    undo()\n    raise"),
    (
        rules.isolation_points_are_explained,
        "app/x.py",
        "except_ = 1  # noqa: " + "BLE001  one bad job must not end the worker",
    ),
    (rules.files_and_functions_are_short, "app/x.py", "def f():\n" + "    x = 1\n" * 69),
]


@pytest.mark.parametrize(("rule", "path", "text"), CAUGHT)
def test_the_rule_catches(rule: Callable[[Source], Iterator[Fault]], path: str, text: str) -> None:
    assert [fault.path for fault in rule(Source.parse(path, text))][:1] == [path]


@pytest.mark.parametrize(("rule", "path", "text"), LET_THROUGH)
def test_the_rule_lets_through(rule: Callable[[Source], Iterator[Fault]], path: str, text: str) -> None:
    assert not list(rule(Source.parse(path, text)))


# Written in pieces, or this file would name them itself.
REGISTRIES = [
    "pypi" + ".org",
    "python" + "hosted.org",
    "registry." + "npmjs",
    "registry." + "yarnpkg",
    "proxy." + "golang",
]
MACHINE_PATHS = ["/wo" + "rk/", "/ro" + "ot/", "/fa" + "rm/", "/ho" + r"me/[a-z]", "bash" + "_jobs"]


def test_no_file_names_a_package_registry_or_a_folder_of_one_machine() -> None:
    pattern = re.compile("|".join([*map(re.escape, REGISTRIES), *(rf"(?<![\w.]){path}" for path in MACHINE_PATHS)]))
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match.group()}"
        for path in repository_files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if (match := pattern.search(line)) is not None
    ]
    assert not found, "\n".join(found)
