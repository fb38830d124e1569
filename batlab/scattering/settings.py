"""The keywords of an integration: what may be asked for, and how the history tells it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from batlab.errors import choose
from batlab.scattering.units import two_theta_of

MAX_BINS = 65535  # a pixel's bin is a 16-bit number


@dataclass(frozen=True)
class Settings:
    """The keywords of `integrate`, checked."""

    n_bins: int
    unit: str = "q"
    mask: Any = None
    dark: Any = None
    flat: Any = None
    monitor: Any = None
    polarization: float | None = 0.99
    solid_angle: bool = True
    error_model: str | None = "poisson"
    split: str = "no"
    q_range: tuple[float, float] | None = None
    azimuth_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.n_bins, bool) or int(self.n_bins) != self.n_bins or not 1 <= self.n_bins <= MAX_BINS:
            raise ValueError(f"n_bins must be a whole number from 1 to {MAX_BINS}, got {self.n_bins!r}")
        choose("unit", self.unit, ("q", "two_theta"))
        choose("error_model", self.error_model, ("poisson", None))
        choose("solid_angle", self.solid_angle, (True, False))
        if self.split != "no":
            raise ValueError(f"split must be 'no', got {self.split!r}; pixel splitting is not built yet")
        if self.polarization is not None and not -1 <= self.polarization <= 1:
            raise ValueError(f"polarization must be -1 to 1 or None, got {self.polarization!r}")
        _check_range("q_range", self.q_range, np.inf)
        _check_range("azimuth_range", self.azimuth_range, 360)

    @cached_property
    def told(self) -> dict[str, Any]:
        """What the history says: the keywords that were given, images and series by their hash."""
        given = {item.name: getattr(self, item.name) for item in fields(self)}
        changed = {item.name: given[item.name] for item in fields(self) if given[item.name] is not item.default}
        return {name: _short(value) if np.ndim(value) else value for name, value in changed.items()}

    def limits(self, wavelength: float | None) -> tuple[float, float] | None:
        """Return the range on the result's axis; `q_range` in degree where that is 2θ."""
        if self.q_range is None or self.unit == "q":
            return self.q_range
        if wavelength is None:
            raise ValueError("q_range needs a wavelength, which neither geometry nor frames state")
        low, high = two_theta_of(np.asarray(self.q_range, float), wavelength)
        if not np.isfinite([low, high]).all():
            raise ValueError(f"q_range {self.q_range} goes beyond 4π/λ = {4 * np.pi / wavelength:g} 1/angstrom")
        return float(low), float(high)


def _short(array: Any) -> Any:
    if hasattr(getattr(array, "data", array), "dask"):
        return f"{array.shape} lazy"  # a mask of a whole series is not read twice for its hash
    values = np.asarray(array)
    if values.size <= 8:
        return values.tolist()
    return f"{values.shape} sha256 {hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:12]}"


def _check_range(name: str, limits: Any, widest: float) -> None:
    if limits is None:
        return
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be (low, high) or None, got {limits!r}") from None
    if not (np.isfinite([low, high]).all() and 0 < high - low <= widest):
        raise ValueError(f"{name} must be (low, high) with low < high, at most {widest:g} apart, got {limits!r}")
