"""The conventions that neither linter nor import graph can see, as functions from a source file to its faults."""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70

PURE = ("app/core/", "app/strategies/")
MONEY_PATH = ("app/core/", "app/services/", "app/repositories/")
STATUS_OWNERS = ("app/core/", "app/repositories/")
COMMITTER = "app/repositories/unit_of_work.py"
OWN_LEDGER = "app/exchange/"
"""The paper exchange keeps books of its own: it is the witness, not part of the order path."""

AMBIENT_MODULES = frozenset(
    {"random", "secrets", "time", "uuid_utils", "socket", "subprocess", "threading", "os", "sqlite3"}
)
AMBIENT_CALLS = frozenset({"now", "utcnow", "today", "uuid1", "uuid4", "uuid6", "uuid7", "getenv", "urandom"})
DURATION_NAME = re.compile(r"(_s|_ms)(_max|_min)?$", re.IGNORECASE)
"""Names of durations: the one kind of float that the money path may hold."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One broken rule: where, and what to do instead."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file, read and parsed once for all rules."""

    path: str
    text: str
    tree: ast.Module

    @classmethod
    def parse(cls, path: PurePosixPath | str, text: str) -> "Source":
        """Parse the text of a file named relative to the project's root."""
        return cls(path=str(path), text=text, tree=ast.parse(text))

    def fault(self, node: ast.stmt | ast.expr | ast.excepthandler, what: str) -> Fault:
        """Return a fault at a node of this file."""
        return Fault(self.path, node.lineno, what)


def time_and_chance_are_arguments(source: Source) -> Iterator[Fault]:
    """In pure code a clock, a random source, an id or the environment comes in as an argument."""
    if not source.path.startswith(PURE):
        return
    for node in ast.walk(source.tree):
        for module in _imported_modules(node):
            if module in AMBIENT_MODULES:
                yield source.fault(node, f"pure code imports {module}: take the value as an argument")  # type: ignore[arg-type]  # only imports name modules
        if isinstance(node, ast.Call) and _called_name(node) in AMBIENT_CALLS:
            yield source.fault(node, f"pure code calls {_called_name(node)}(): take the value as an argument")


def core_needs_the_standard_library_alone(source: Source) -> Iterator[Fault]:
    """The trading rules import nothing that has to be installed."""
    if not source.path.startswith("app/core/"):
        return
    for node in ast.walk(source.tree):
        for module in _imported_modules(node):
            if module != "app" and module not in sys.stdlib_module_names:
                yield source.fault(node, f"core imports {module}: only the standard library is allowed")  # type: ignore[arg-type]  # only imports name modules


def statuses_change_through_the_table(source: Source) -> Iterator[Fault]:
    """Nobody assigns a status: the transition table and the statement that writes it do."""
    if not source.path.startswith("app/") or source.path.startswith((*STATUS_OWNERS, OWN_LEDGER)):
        return
    for node in ast.walk(source.tree):
        for target in _assigned(node):
            if isinstance(target, ast.Attribute) and target.attr == "status":
                yield source.fault(target, "a status is assigned: go through the transition table")


def one_file_commits(source: Source) -> Iterator[Fault]:
    """The unit of work holds the only commit of our database."""
    if not source.path.startswith("app/") or source.path.startswith((COMMITTER, OWN_LEDGER)):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "commit":
            yield source.fault(node, f"a commit outside {COMMITTER}")


def money_is_never_a_float(source: Source) -> Iterator[Fault]:
    """On the money path there is no float but durations, whose names say so."""
    if not source.path.startswith(MONEY_PATH):
        return
    durations = set(_duration_values(source.tree))
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and _called_name(node) == "float" and not _is_infinity(node):
            yield source.fault(node, "float() on the money path: use Decimal")
        if isinstance(node, ast.Constant) and isinstance(node.value, float) and node not in durations:
            yield source.fault(
                node, f"float {node.value} on the money path: use Decimal, or call it ..._s (a duration)"
            )


def cancellation_is_raised_again(source: Source) -> Iterator[Fault]:
    """Whoever catches a cancellation raises it again; hiding the end of one's own task is `suppress`."""
    if not source.path.startswith("app/"):
        return
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.ExceptHandler) or node.type is None:
            continue
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        names = {_last_name(expression) for expression in caught}
        if names & {"CancelledError", "BaseException"} and not any(
            isinstance(inner, ast.Raise) for inner in ast.walk(node)
        ):
            yield source.fault(node, "a cancellation is caught and not raised again")


def isolation_points_are_explained(source: Source) -> Iterator[Fault]:
    """A broad except says beside it what it isolates; a line kept out of coverage or types says why."""
    for number, line in enumerate(source.text.splitlines(), start=1):
        for marker in ("noqa: BLE001", "pragma: no cover"):
            _, found, reason = line.partition("# " + marker)
            if found and len(reason.strip(" -:#")) < len("a reason"):
                yield Fault(source.path, number, f"{marker} without a reason beside it")


def files_and_functions_are_short(source: Source) -> Iterator[Fault]:
    """A file is one idea, a function fits on a screen. Migrations are records: as long as they are."""
    if source.path.startswith("migrations/versions/"):
        return
    lines = len(source.text.splitlines())
    if lines > FILE_LINES_MAX:
        yield Fault(source.path, lines, f"{lines} lines: split the file (at most {FILE_LINES_MAX})")
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            length = node.end_lineno - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield source.fault(node, f"{node.name} has {length} lines: split it (at most {FUNCTION_LINES_MAX})")


RULES: tuple[Callable[[Source], Iterator[Fault]], ...] = (
    time_and_chance_are_arguments,
    core_needs_the_standard_library_alone,
    statuses_change_through_the_table,
    one_file_commits,
    money_is_never_a_float,
    cancellation_is_raised_again,
    isolation_points_are_explained,
    files_and_functions_are_short,
)


def _is_infinity(call: ast.Call) -> bool:
    """Whether the call is float("inf") or float("-inf"): "never" and "always" of monotonic times, and never money."""
    return [getattr(argument, "value", None) for argument in call.args] in (["inf"], ["-inf"])


def _imported_modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module is not None:
        return [node.module.partition(".")[0]]
    return []


def _called_name(call: ast.Call) -> str:
    return _last_name(call.func)


def _last_name(expression: ast.expr) -> str:
    if isinstance(expression, ast.Attribute):
        return expression.attr
    return expression.id if isinstance(expression, ast.Name) else ""


def _assigned(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return [
            inner for target in node.targets for inner in (target.elts if isinstance(target, ast.Tuple) else [target])
        ]
    return [node.target] if isinstance(node, ast.AugAssign | ast.AnnAssign) else []


def _duration_values(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield every node inside a value that is given to a name of a duration."""
    for node in ast.walk(tree):
        values: list[ast.expr] = []
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            names = [_last_name(target) for target in _assigned(node)]
            values = [node.value] if names and all(DURATION_NAME.search(name) for name in names) else []
        elif isinstance(node, ast.keyword) and node.arg is not None and DURATION_NAME.search(node.arg):
            values = [node.value]
        elif isinstance(node, ast.arguments):
            positional = (node.posonlyargs + node.args)[-len(node.defaults) :] if node.defaults else []
            pairs = [*zip(positional, node.defaults, strict=True), *zip(node.kwonlyargs, node.kw_defaults, strict=True)]
            values = [value for name, value in pairs if value is not None and DURATION_NAME.search(name.arg)]
        for value in values:
            yield from ast.walk(value)
