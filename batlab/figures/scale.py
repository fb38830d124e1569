"""Linear, square-root and logarithmic scales of intensity, with ticks a reader can use."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from batlab.errors import choose

SCALES = ("linear", "sqrt", "log")
DECADES = 1e4  # a logarithmic scale without a positive lower limit shows four decades


@dataclass(frozen=True)
class Scale:
    """Intensity to position and back.

    A signed scale (differences) is symmetric about zero; its logarithm is sign(v) log10(1 + |v| / u) with u a
    hundredth of the upper limit: less would show mostly noise.
    """

    name: str
    low: float
    high: float
    signed: bool = False

    def __post_init__(self) -> None:
        choose("scale", self.name, SCALES)
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"limits must be two finite increasing numbers, got ({self.low}, {self.high})")

    @property
    def floor(self) -> float:
        """The smallest intensity that an unsigned logarithm shows."""
        if self.high <= 0:
            raise ValueError(f"a logarithmic scale needs a positive upper limit, got {self.high:g}")
        return self.low if self.low > 0 else self.high / DECADES

    @property
    def unit(self) -> float:
        """The difference around which a signed logarithm bends."""
        return max(abs(self.low), abs(self.high)) / 100

    def forward(self, values: np.ndarray | float) -> np.ndarray:
        """Return the positions of `values`; NaN stays NaN."""
        array = np.asarray(values, dtype=float)
        if self.name == "linear":
            return array
        if self.name == "sqrt":
            return np.sign(array) * np.sqrt(np.abs(array))
        if self.signed:
            return np.sign(array) * np.log10(1 + np.abs(array) / self.unit)
        return np.log10(np.maximum(array, self.floor))

    def ends(self) -> tuple[float, float]:
        """Return the positions of the limits."""
        low = self.floor if self.name == "log" and not self.signed else self.low
        return float(self.forward(low)), float(self.forward(self.high))

    def levels(self, values: np.ndarray) -> np.ndarray:
        """Return uint8: 0 where `values` are missing, else 1 (lower limit) to 255 (upper limit)."""
        bottom, top = self.ends()
        position = (self.forward(values) - bottom) / (top - bottom)
        level = 1 + np.rint(254 * np.clip(position, 0, 1))
        return np.where(np.isnan(level), 0, level).astype(np.uint8)

    def ticks(self, count: int = 5) -> list[float]:
        """Return about `count` round intensities within the limits, spread evenly over positions."""
        if self.name == "linear":
            return _round_steps(self.low, self.high, count)
        bottom, top = self.ends()
        low = min(self.low, self.high) if self.name != "log" or self.signed else self.floor
        ticks = {_round_one(float(self.inverse(p))) for p in np.linspace(bottom, top, count)}
        if self.name == "log" and not self.signed and self.high / low >= 100:
            powers = range(math.floor(math.log10(low)), math.ceil(math.log10(self.high)) + 1)
            ticks = {10.0**power for power in powers}
        slack = 1e-9 * (self.high - low)
        return sorted(tick for tick in ticks if low - slack <= tick <= self.high + slack)

    def inverse(self, position: np.ndarray | float) -> np.ndarray:
        """Return the intensities at `position`."""
        array = np.asarray(position, dtype=float)
        if self.name == "linear":
            return array
        if self.name == "sqrt":
            return np.sign(array) * array**2
        if self.signed:
            return np.sign(array) * (10 ** np.abs(array) - 1) * self.unit
        return 10**array


def tick_text(value: float) -> str:
    """Return a number as short as a tick wants it.

    >>> tick_text(12000.0), tick_text(0.25), tick_text(1500000.0)
    ('12k', '0.25', '1.5M')
    """
    size = abs(value)
    for limit, sign in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= limit:
            power = 1e3 if sign == "k" else limit
            return f"{value / power:.4g}{sign}"
    return f"{value:.4g}"


def _round_one(value: float) -> float:
    if value == 0 or not math.isfinite(value):
        return 0.0
    power = 10.0 ** math.floor(math.log10(abs(value)))
    return round(value / power) * power


def _round_steps(low: float, high: float, count: int) -> list[float]:
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]
