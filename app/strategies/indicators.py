"""Incremental indicators. The only place where prices become floats: they inform decisions, they are never money."""

from decimal import Decimal


class Ema:
    """Exponential moving average: alpha = 2 / (n + 1), started with the simple mean of the first n values."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._alpha = 2.0 / (length + 1)
        self._seed: list[float] = []
        self.value: float | None = None

    def update(self, price: Decimal) -> float | None:
        """Take one more price; returns the average, or None until there are enough prices."""
        number = float(price)
        if self.value is not None:
            self.value += self._alpha * (number - self.value)
            return self.value
        self._seed.append(number)
        if len(self._seed) == self._length:
            self.value = sum(self._seed) / self._length
            self._seed.clear()
        return self.value
