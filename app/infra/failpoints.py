"""Places where a process can be killed or frozen on purpose, to prove that nothing is lost there. Inert by default.

Only the environment arms them: `SAUDA_FAILPOINTS="worker.after_claim=kill@0.02;uow.before_commit=stop@0.01"`, drawn
from `SAUDA_FAILPOINTS_SEED` (0 when absent). Nothing in the program, its settings or its API can.
"""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from app.infra.logging import get_logger

VARIABLE = "SAUDA_FAILPOINTS"
SEED_VARIABLE = "SAUDA_FAILPOINTS_SEED"

log = get_logger(__name__)


class Point(StrEnum):
    """Every place; each name is a role or layer and the moment."""

    WORKER_BEFORE_CLAIM = "worker.before_claim"
    WORKER_AFTER_CLAIM = "worker.after_claim"
    WORKER_BEFORE_SEND = "worker.before_send"
    WORKER_AFTER_SEND = "worker.after_send"
    WORKER_AFTER_ANSWER = "worker.after_answer"
    WORKER_BEFORE_RECORD = "worker.before_record"
    WORKER_AFTER_RECORD = "worker.after_record"
    UOW_BEFORE_COMMIT = "uow.before_commit"
    UOW_AFTER_COMMIT = "uow.after_commit"
    API_AFTER_SAVE = "api.after_save"
    API_BEFORE_ANSWER = "api.before_answer"
    KEEPER_AFTER_READ = "keeper.after_read"
    KEEPER_BEFORE_APPLY = "keeper.before_apply"
    QUEUE_AFTER_TAKE = "queue.after_take"


class Deed(StrEnum):
    """What happens to the process at a point: SIGKILL ends it, SIGSTOP freezes it until somebody sends SIGCONT."""

    KILL = "kill"
    STOP = "stop"


class BadFailpoints(Exception):
    """The variable cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class _Rule:
    deed: Deed
    probability: float


_SIGNALS = {Deed.KILL: signal.SIGKILL, Deed.STOP: signal.SIGSTOP}
_armed: dict[str, list[_Rule]] = {}
_random = Random(0)  # noqa: S311  chance, not secrecy


def reach(point: Point) -> None:
    """Say that the process has come to a point. Where nothing is armed this costs a call and one look."""
    if _armed:
        _pass(point)


def is_armed(point: Point) -> bool:
    """Whether anything can happen at a point, where coming to it needs preparation of its own."""
    return bool(_armed) and point in _armed


def arm(environ: Mapping[str, str]) -> None:
    """Arm the points that the environment names, and no others; raises `BadFailpoints`."""
    rules: dict[str, list[_Rule]] = {}
    for part in environ.get(VARIABLE, "").split(";"):
        if part.strip():
            point, rule = _read(part.strip())
            rules.setdefault(point, []).append(rule)
    seed = environ.get(SEED_VARIABLE, "0")
    _armed.clear()
    _armed.update(rules)
    # With the process id, for otherwise a restarted process would end at the very same step again and again.
    _random.seed(f"{seed}:{os.getpid()}")
    if rules:
        log.warning("failpoints.armed", points=sorted(rules), seed=seed)


def _read(part: str) -> tuple[Point, _Rule]:
    name, _, rest = part.partition("=")
    deed, at, chance = rest.partition("@")
    try:
        point = Point(name.strip())
    except ValueError:
        raise BadFailpoints(f"{VARIABLE}: there is no point {name.strip()!r}; there are {', '.join(Point)}") from None
    try:
        rule = _Rule(Deed(deed.strip()), float(chance) if at else 1.0)
    except ValueError:
        raise BadFailpoints(f"{VARIABLE}: {part!r} is not like worker.after_claim=kill@0.05") from None
    if not 0 <= rule.probability <= 1:
        raise BadFailpoints(f"{VARIABLE}: the probability in {part!r} must lie between 0 and 1")
    return point, rule


def _pass(point: Point) -> None:
    for rule in _armed.get(point, ()):
        if _random.random() < rule.probability:
            os.kill(os.getpid(), _SIGNALS[rule.deed])
