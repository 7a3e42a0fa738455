"""The strategies that there are, by the names that rows use."""

from collections.abc import Callable, Mapping
from uuid import UUID

from app.strategies.base_strategy import BaseStrategy
from app.strategies.ema_crossover import EmaCrossover, EmaCrossoverParameters


class UnknownStrategy(LookupError):
    """No strategy has this name."""


def _ema_crossover(instrument_id: UUID, parameters: Mapping[str, str]) -> BaseStrategy:
    return EmaCrossover(instrument_id, EmaCrossoverParameters.model_validate(dict(parameters)))


_KINDS: dict[str, Callable[[UUID, Mapping[str, str]], BaseStrategy]] = {"ema_crossover": _ema_crossover}


def build_strategy(kind: str, *, instrument_id: UUID, parameters: Mapping[str, str]) -> BaseStrategy:
    """Return a new strategy; raises `UnknownStrategy`, and pydantic's `ValidationError` for wrong parameters."""
    if kind not in _KINDS:
        raise UnknownStrategy(f"there is no strategy {kind!r}; there are {', '.join(sorted(_KINDS))}")
    return _KINDS[kind](instrument_id, parameters)
