"""No value of the trading rules holds a float: money is Decimal, quantities are whole."""

import dataclasses
import importlib
import pkgutil
import typing
from collections.abc import Iterator

import pytest

import app.core

DURATIONS = {"retry_after_s"}
"""Durations may be floats: they are never money."""


def core_dataclasses() -> Iterator[type]:
    for module_info in pkgutil.iter_modules(app.core.__path__):
        module = importlib.import_module(f"app.core.{module_info.name}")
        for value in vars(module).values():
            if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.__name__:
                yield value


VALUES = list(core_dataclasses())


def parts(annotation: object) -> Iterator[object]:
    yield annotation
    for argument in typing.get_args(annotation):
        yield from parts(argument)


@pytest.mark.parametrize("kind", VALUES, ids=[kind.__name__ for kind in VALUES])
def test_no_field_of_the_core_is_a_float(kind: type) -> None:
    hints = typing.get_type_hints(kind)
    floats = [
        field.name
        for field in dataclasses.fields(kind)
        if field.name not in DURATIONS and float in set(parts(hints[field.name]))
    ]
    assert floats == []


@pytest.mark.parametrize("kind", VALUES, ids=[kind.__name__ for kind in VALUES])
def test_every_value_of_the_core_is_frozen(kind: type) -> None:
    assert vars(kind)["__dataclass_params__"].frozen


def test_the_walk_finds_the_values_that_matter() -> None:
    names = {kind.__name__ for kind in VALUES}
    assert {"OrderIntent", "Order", "Fill", "Position", "FeeRates", "Bar", "Tick", "Signal", "Funds"} <= names
