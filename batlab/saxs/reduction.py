"""From counts to cross sections: the empty beam, transmission, thickness, monitor, and a standard of known level."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, UnitError, choose
from batlab.saxs.series import ABSOLUTE, curves_of
from batlab.saxs.standards import SRM_3600, SRM_3600_SIGMA, WATER
from batlab.schema import quantity, record, same_grid

WINDOWS = {"glassy_carbon": (0.03, 0.06), "srm3600": (0.01, 0.2), "water": (0.1, 0.3)}


def subtract(
    sample: xr.Dataset,
    background: xr.Dataset,
    *,
    transmission: Any = 1.0,
    background_transmission: Any = 1.0,
    monitor: Any = 1.0,
    background_monitor: Any = 1.0,
    thickness: Any = None,
    scale: float = 1.0,
) -> xr.Dataset:
    """Return what the sample alone scatters: ``(I_s / (M_s T_s) - scale · I_b / (M_b T_b)) / d``.

    Parameters
    ----------
    sample
        ``intensity`` (frame, q), with ``intensity_sigma`` for σ.
    background
        The same of the empty cell or the solvent on exactly the same q: one frame, or as many as the sample; several
        frames of another number are averaged, weighted alike.
    transmission, background_transmission
        0 < T ≤ 1: one number or one a frame. T_b is that of the empty cell, T_s of cell and sample.
    monitor, background_monitor
        Incident flux times time, above 0; one number or one a frame.
    thickness
        Of the sample alone in mm; then the unit gets ``per cm`` and, if the monitor is calibrated, is absolute.
    scale
        Share of the background, 1 for equal cells.

    Returns
    -------
    Dataset
        ``intensity``, ``intensity_sigma`` (both parts in quadrature; averaging the background makes its error common
        to all frames). The unit stays that of the sample: `absolute` sets 1/cm.

    Raises
    ------
    DimensionError, UnitError
        Unequal q, intensities in different units.
    ValueError
        A factor that is no number above 0, or a transmission above 1.

    Examples
    --------
    >>> q = quantity("q", [0.01, 0.02, 0.03], "1/angstrom", "scattering vector")
    >>> made = [xr.Dataset({"intensity": quantity(("frame", "q"), [[level] * 3], "1", "intensity")},
    ...                    {"q": q, "frame": quantity("frame", [0], "1", "frame")}) for level in (4.0, 1.0)]
    >>> subtract(*made, transmission=0.5, thickness=2.0)["intensity"].values[0]
    array([35., 35., 35.])
    """
    same_grid("saxs.subtract", sample, background, ["q"])
    if sample["q"].attrs.get("units") != background["q"].attrs.get("units"):
        raise DimensionError("saxs.subtract needs q in one unit in sample and background")
    stated = [one["intensity"].attrs.get("units") for one in (sample, background) if "intensity" in one]
    if len(set(stated)) > 1:
        raise UnitError(f"saxs.subtract cannot take {stated[1]!r} from {stated[0]!r}; bring both to one unit first")
    _, values, sigma = curves_of(sample, "saxs.subtract")
    _, under, under_sigma = curves_of(background, "saxs.subtract")
    n = len(values)
    down = _factor("transmission", transmission, n, 1.0) * _factor("monitor", monitor, n)
    m = len(under)
    below = _factor("background_transmission", background_transmission, m, 1.0)
    below = below * _factor("background_monitor", background_monitor, m)
    under, variance = under / below, (0.0 if under_sigma is None else (under_sigma / below) ** 2)
    if m not in (1, n):
        under, variance = under.mean(axis=0, keepdims=True), np.sum(variance, axis=0, keepdims=True) / m**2
    size = 1.0 if thickness is None else _factor("thickness", thickness, n) / 10.0
    result = (values / down - scale * under) / size
    _warn_oversubtracted(result, sigma, "saxs.subtract")
    keep = np.asarray(sample["q"].values) > 0
    done = sample.isel(q=keep).drop_vars([name for name in ("intensity_sigma",) if name in sample])
    units = sample["intensity"].attrs.get("units", "1")
    units = "1" if units == "count" else units
    done["intensity"] = quantity(("frame", "q"), result, units, "scattered intensity of the sample alone")
    if sigma is not None or under_sigma is not None:
        total = np.sqrt((0.0 if sigma is None else (sigma / down) ** 2) + scale**2 * variance) / size
        total = np.broadcast_to(total, result.shape).copy()
        done["intensity_sigma"] = quantity(("frame", "q"), total, units, "1 sigma of the scattered intensity")
    return record(
        done, "saxs.subtract", background=background, transmission=transmission,
        background_transmission=background_transmission, monitor=monitor, background_monitor=background_monitor,
        thickness=thickness, scale=scale,
    )  # fmt: skip


def absolute(
    patterns: xr.Dataset,
    standard: xr.Dataset,
    *,
    reference: xr.Dataset | None = None,
    kind: str = "glassy_carbon",
    window: tuple[float, float] | None = None,
) -> xr.Dataset:
    """Put a series on the absolute scale, dΣ/dΩ in 1/cm, by a standard measured and reduced in the same way.

    The factor is the weighted mean of (known level) / (measured) over `window`; its σ holds the scatter, and enters
    ``scale_sigma`` alone: it is common to all points and frames.

    Parameters
    ----------
    patterns, standard
        ``intensity`` (frame, q) per mm or cm of thickness alike (`subtract` with ``thickness=``).
    reference
        The standard's known curve in 1/cm, for example the certified one of its plate; needed for
        ``kind="glassy_carbon"``: X-rays and neutrons, and plates, have different levels.
    kind
        ``"glassy_carbon"``; ``"srm3600"``, NIST's certified one (for X-rays, 0.0083 to 0.2474 1/angstrom, of which the
        certificate's 2.6 % enter ``scale_sigma``; reduce it with its thickness of 1.055 mm); or ``"water"`` (0.01632
        1/cm at 20 °C, for X-rays).
    window
        In 1/angstrom; by default 0.03–0.06 for glassy carbon (its plateau), 0.01–0.2 for SRM 3600, 0.1–0.3 for water.

    Returns
    -------
    Dataset
        ``intensity`` in 1/cm, ``intensity_sigma``; attributes ``scale``, ``scale_sigma``.

    Raises
    ------
    ValueError
        No point in the window, a level that is not above 0, no `reference` where one is needed, or one where the
        standard's own curve is known.

    References
    ----------
    A. J. Allen et al., J. Appl. Cryst. 50, 462 (2017), doi:10.1107/S1600576717001972 (SRM 3600); D. Orthaber,
    A. Bergmann, O. Glatter, J. Appl. Cryst. 33, 218 (2000), doi:10.1107/S0021889899015216 (water).
    """
    choose("kind", kind, list(WINDOWS))
    if kind != "glassy_carbon" and reference is not None:
        raise ValueError(f"saxs.absolute knows the curve of kind={kind!r}; leave reference= out or say 'glassy_carbon'")
    window = window or WINDOWS[kind]
    q, values, sigma = curves_of(standard, "saxs.absolute", window)
    if kind == "water":
        known, known_sigma = np.full(q.size, WATER), np.zeros(q.size)
    elif kind == "srm3600":
        at, level = np.array(SRM_3600).T
        _inside(q, at)
        known, known_sigma = np.interp(q, at, level), np.zeros(q.size)
    else:
        if reference is None:
            raise ValueError("saxs.absolute with glassy carbon needs reference=, its known curve in 1/cm")
        known, known_sigma = _known(reference, q)
    measured = values.mean(axis=0)
    spread = np.zeros(q.size) if sigma is None else np.sqrt(np.nansum(sigma**2, axis=0)) / len(sigma)
    if not (measured > 0).all():
        raise ValueError(f"saxs.absolute: the standard is not above 0 throughout {window}; reduce it first")
    ratio = known / measured
    error = ratio * np.hypot(spread / measured, known_sigma / known)
    weight = 1 / error**2 if (error > 0).all() else np.ones(q.size)
    factor = float(np.sum(weight * ratio) / weight.sum())
    chi2 = float(np.sum(weight * (ratio - factor) ** 2) / max(1, q.size - 1))
    factor_sigma = float(np.sqrt((max(1.0, chi2) if (error > 0).all() else chi2) / weight.sum()))
    if kind == "srm3600":  # common to all its points: no average makes it smaller
        factor_sigma = float(np.hypot(factor_sigma, SRM_3600_SIGMA * factor))
    scatter = float(np.std(ratio) / factor)
    if scatter > 0.05:
        text = f"saxs.absolute: known and measured standard differ in shape by {scatter:.1%} over {window}"
        warnings.warn(text, stacklevel=2)
    done = patterns.copy()
    for name in ("intensity", "intensity_sigma"):
        if name in patterns:
            told = patterns[name].attrs.get("long_name", name)
            done[name] = quantity(tuple(map(str, patterns[name].dims)), patterns[name].values * factor, ABSOLUTE, told)
    done.attrs.update(scale=factor, scale_sigma=factor_sigma)
    return record(done, "saxs.absolute", standard=standard, reference=reference, kind=kind, window=window)


def _known(reference: xr.Dataset, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if reference["intensity"].attrs.get("units") != ABSOLUTE:
        raise ValueError("saxs.absolute needs the reference in '1/cm'")
    known_q, level, sigma = curves_of(reference, "saxs.absolute")
    _inside(q, known_q)
    spread = np.zeros(q.size) if sigma is None else np.interp(q, known_q, np.nan_to_num(sigma[0]))
    return np.interp(q, known_q, level[0]), spread


def _inside(q: np.ndarray, known_q: np.ndarray) -> None:
    if q[0] < known_q[0] or q[-1] > known_q[-1]:
        text = f"the reference reaches from {known_q[0]:.4g} to {known_q[-1]:.4g}, the window from {q[0]:.4g} to "
        raise ValueError(f"saxs.absolute: {text}{q[-1]:.4g} 1/angstrom; pass a window= inside both")


def _factor(name: str, value: Any, n: int, most: float = np.inf) -> np.ndarray:
    number = np.asarray(value.values if isinstance(value, xr.DataArray) else value, float)
    if number.shape not in ((), (n,)) or not (np.isfinite(number) & (number > 0) & (number <= most)).all():
        bound = f" and at most {most:g}" if np.isfinite(most) else ""
        raise ValueError(f"{name} must be a number above 0{bound}, or {n} of them, got {value!r:.80}")
    return number.reshape(-1, 1) if number.ndim else number


def _warn_oversubtracted(result: np.ndarray, sigma: np.ndarray | None, function: str) -> None:
    below = (result < 0) & (np.abs(result) > 3 * sigma if sigma is not None else True)
    part = float(np.mean(below)) if result.size else 0.0
    if part > 0.02:
        worst = int(np.argmax(below.mean(axis=1)))
        text = f"{function}: {part:.0%} of the points are below 0 by more than 3 sigma, most in frame {worst}"
        warnings.warn(f"{text}; look at transmission, monitor and scale", stacklevel=3)
