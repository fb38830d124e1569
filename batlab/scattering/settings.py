"""The keywords of an integration: what may be asked for, and how the history tells it."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from batlab.errors import choose, refuse_unknown
from batlab.scattering.units import two_theta_of

MAX_BINS = 2**24  # of a cake: 16 million numbers a frame are more than any screen or fit takes

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The keywords of `integrate` and `Integrator`, checked. They are explained in `integrate`."""

    n_bins: int
    unit: str = "q"
    n_azimuth: int | None = None
    mask: Any = None
    dark: Any = None
    flat: Any = None
    monitor: Any = None
    variance: Any = None
    polarization: float | None = 0.99
    solid_angle: bool = True
    error_model: str | None = "poisson"
    split: str = "no"
    clip: Any = None
    q_range: tuple[float, float] | None = None
    azimuth_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        choose("unit", self.unit, ("q", "two_theta", "r"))
        choose("error_model", self.error_model, ("poisson", "azimuthal", "hybrid", None))
        choose("solid_angle", self.solid_angle, (True, False))
        choose("split", self.split, ("no", "bbox", "full"))
        _check_number("n_bins", self.n_bins)
        if self.n_azimuth is not None:
            _check_number("n_azimuth", self.n_azimuth)
        if self.n_cells > MAX_BINS:
            raise ValueError(f"n_bins x n_azimuth must be at most {MAX_BINS}, got {self.n_bins} x {self.n_azimuth}")
        if self.variance is not None and self.error_model != "poisson":
            raise ValueError(f"variance is given: leave error_model at its default, got {self.error_model!r}")
        if self.polarization is not None and not -1 <= self.polarization <= 1:
            raise ValueError(f"polarization must be -1 to 1 or None, got {self.polarization!r}")
        if self.clip is not None:
            from batlab.scattering.rings import check_clip

            check_clip(self.clip, self.error_model)
        _check_range("q_range", self.q_range, np.inf)
        _check_range("azimuth_range", self.azimuth_range, 360)

    @property
    def n_cells(self) -> int:
        """Number of bins, over azimuth too."""
        return int(self.n_bins) * int(self.n_azimuth or 1)

    @property
    def errors(self) -> str:
        """The error model as the result's attribute tells it."""
        return "variance" if self.variance is not None else self.error_model or "none"

    @cached_property
    def told(self) -> dict[str, Any]:
        """What the history says: the keywords that were given, images and series by their hash."""
        given = {item.name: getattr(self, item.name) for item in fields(self)}
        changed = {item.name: given[item.name] for item in fields(self) if given[item.name] is not item.default}
        return {name: _short(value) if np.ndim(value) else value for name, value in changed.items()}

    def limits(self, geometry: Any) -> tuple[float, float] | None:
        """Return `q_range` on the result's axis: 1/angstrom, degree, or mm.

        A radius stands for an angle only where it is on a plane square to the beam, at the detector's distance.
        """
        if self.q_range is None or self.unit == "q":
            return self.q_range
        if self.unit == "r":
            raise ValueError("q_range is no range of radii; use unit='q' or 'two_theta', or mask the pixels")
        if geometry.wavelength is None:
            raise ValueError("q_range needs a wavelength, which neither geometry nor frames state")
        low, high = two_theta_of(np.asarray(self.q_range, float), geometry.wavelength)
        if not np.isfinite([low, high]).all():
            limit = 4 * np.pi / geometry.wavelength
            raise ValueError(f"q_range {self.q_range} goes beyond 4π/λ = {limit:g} 1/angstrom")
        return float(low), float(high)


def settings_of(function: str, keywords: dict[str, Any]) -> Settings:
    """Return the checked keywords of `function`.

    Raises
    ------
    TypeError
        A keyword is unknown, or n_bins is missing.
    ValueError
        A value is impossible.
    """
    refuse_unknown(function, keywords, [item.name for item in fields(Settings)])
    if "n_bins" not in keywords:
        raise TypeError(f"{function} needs n_bins, the number of bins along q, two_theta or r")
    return Settings(**keywords)


def takes_settings(function: Function) -> Function:
    """Show the keywords of `Settings` in the signature of a function that takes them as ``**keywords``."""
    signature = inspect.signature(function)
    own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    shown = [
        inspect.Parameter(
            item.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if item.default is MISSING else item.default,
            annotation=item.type,
        )
        for item in fields(Settings)
    ]
    before = [one for one in own if one.kind is not one.KEYWORD_ONLY]
    after = [one for one in own if one.kind is one.KEYWORD_ONLY]
    function.__signature__ = signature.replace(parameters=[*before, *shown, *after])  # type: ignore[attr-defined]
    return function


def _short(array: Any) -> Any:
    if hasattr(getattr(array, "data", array), "dask"):
        return f"{array.shape} lazy"  # a mask of a whole series is not read twice for its hash
    values = np.asarray(array)
    if values.size <= 8:
        return values.tolist()
    return f"{values.shape} sha256 {hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:12]}"


def _check_number(name: str, number: Any) -> None:
    if isinstance(number, bool) or int(number) != number or not 1 <= number <= MAX_BINS:
        raise ValueError(f"{name} must be a whole number from 1 to {MAX_BINS}, got {number!r}")


def _check_range(name: str, limits: Any, widest: float) -> None:
    if limits is None:
        return
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be (low, high) or None, got {limits!r}") from None
    if not (np.isfinite([low, high]).all() and 0 < high - low <= widest):
        raise ValueError(f"{name} must be (low, high) with low < high, at most {widest:g} apart, got {limits!r}")
