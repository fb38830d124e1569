"""Which reflection is which peak."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr

from batlab import io
from batlab.curves.lines import lines, q_of
from batlab.errors import SchemaError, choose
from batlab.schema import quantity, record, require

CLEARLY_NEARER = 0.5  # the named line must be at most this fraction of the next one's distance away


def index_peaks(
    peaks: xr.Dataset, structure: Any, *, tolerance: float = 0.01, min_relative: float = 0.01
) -> xr.Dataset:
    """Return the peak table with Miller indices for the peaks that a structure explains.

    Each unlabelled peak, at its median position over the frames, takes the nearest line of the structure within
    `tolerance`, if no other line is nearly as near and no other peak claims the same line with as good a right. What
    stays open keeps ``hkl`` ``""`` with a warning. Peaks that have an ``hkl`` keep it: index a table with several
    phases by one call for each.

    Parameters
    ----------
    peaks
        Over (``frame``, ``peak``), as ``curves.fit_peaks`` gives it: ``position`` in `attrs["axis"]`.
    structure
        CIF file or structure Dataset. Its cell must be right within `tolerance`.
    tolerance
        Largest relative difference in q (or d).
    min_relative
        Weakest line of the structure considered (see ``curves.lines``).

    Returns
    -------
    xarray.Dataset
        A copy with coordinates ``hkl`` and ``phase`` filled.

    Raises
    ------
    DimensionError, SchemaError, ValueError
        No (frame, peak) table, no ``axis`` or no ``wavelength`` where it is needed, a tolerance outside 0…0.2.

    Examples
    --------
    >>> import batlab as bl
    >>> named = bl.xrd.index_peaks(peaks, "nmc811.cif")  # doctest: +SKIP
    """
    require(peaks, "xrd.index_peaks", "frame", "peak", hint="make the table with curves.fit_peaks")
    if not 0 < tolerance <= 0.2:
        raise ValueError(f"tolerance must be above 0 and at most 0.2, got {tolerance!r}")
    crystal = io.structure(structure)
    phase = str(crystal.attrs.get("phase", ""))
    hkl, owner = labels(peaks)
    q = _median_q(peaks)
    open_peaks = np.flatnonzero((hkl == "") & np.isfinite(q))
    if open_peaks.size:
        low, high = q[open_peaks].min() * (1 - tolerance) ** 2, q[open_peaks].max() * (1 + tolerance) ** 2
        known = lines(crystal, limits=(low, high), wavelength=peaks.attrs.get("wavelength"), min_relative=min_relative)
        free = ~np.isin(known["hkl"].values, hkl[owner == phase])
        chosen = _assign(q[open_peaks], known["q"].values[free], tolerance)
        names = [known["hkl"].values[free][line] if line >= 0 else "" for line in chosen]
        hkl[open_peaks] = names
        owner[open_peaks] = np.where(chosen >= 0, phase, owner[open_peaks])
        _tell_open(phase, q[open_peaks][chosen == -2])
    result = peaks.assign_coords(
        hkl=quantity("peak", hkl.astype(str), "1", "Miller indices"),
        phase=quantity("peak", owner.astype(str), "1", "phase"),
    )
    return record(result, "xrd.index_peaks", structure=structure, tolerance=tolerance, min_relative=min_relative)


def labels(peaks: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return copies of ``hkl`` and ``phase`` of a peak table as object arrays; ``""`` where there is none."""
    n_peaks = peaks.sizes["peak"]
    columns = (peaks[name].values if name in peaks.coords else np.full(n_peaks, "") for name in ("hkl", "phase"))
    hkl, phase = (np.array([str(text).strip() for text in column], dtype=object) for column in columns)
    return hkl, phase


def axis_of(peaks: xr.Dataset) -> tuple[str, float | None]:
    """Return ``"q"`` or ``"two_theta"`` and the wavelength, None if there is none in q.

    Raises
    ------
    SchemaError
        No ``axis`` attribute, or 2θ without a wavelength.
    """
    axis, wavelength = peaks.attrs.get("axis"), peaks.attrs.get("wavelength")
    if axis is None:
        raise SchemaError("a peak table needs attrs['axis'], 'q' or 'two_theta'; make it with curves.fit_peaks")
    choose("axis", axis, ("q", "two_theta"))
    if axis == "two_theta" and wavelength is None:
        raise SchemaError("peaks in two_theta need attrs['wavelength'] in angstrom; set it, or open with wavelength=…")
    return str(axis), None if wavelength is None else float(wavelength)


def _median_q(peaks: xr.Dataset) -> np.ndarray:
    axis, wavelength = axis_of(peaks)
    position = np.asarray(peaks["position"].transpose("frame", "peak").values, dtype=float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a peak that is missing in all frames: NaN is the answer
        middle = np.nanmedian(position, axis=0)
    return middle if axis == "q" else np.asarray(q_of(middle, float(wavelength or np.nan)))


def _assign(q: np.ndarray, lines_q: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the line of each peak, -1 where none is near, -2 where it is ambiguous."""
    chosen = np.full(len(q), -1)
    if not lines_q.size:
        return chosen
    away = np.abs(q[:, None] / lines_q[None, :] - 1)
    near = away <= tolerance
    best = away.argmin(axis=1)
    for peak in np.flatnonzero(near.any(axis=1)):
        rivals = [away[peak, line] for line in np.flatnonzero(near[peak]) if line != best[peak]]
        rivals += [away[other, best[peak]] for other in np.flatnonzero(near[:, best[peak]]) if other != peak]
        clear = all(away[peak, best[peak]] <= CLEARLY_NEARER * rival for rival in rivals)
        nearer_peak = away[:, best[peak]].argmin() != peak
        chosen[peak] = best[peak] if clear else (-1 if nearer_peak and _is_clear(away[:, best[peak]]) else -2)
    return chosen


def _is_clear(away: np.ndarray) -> bool:
    """Whether one peak is clearly nearest to a line, so that the others simply are not it."""
    first, second = np.partition(away, 1)[:2]
    return bool(first <= CLEARLY_NEARER * second)


def _tell_open(phase: str, q: np.ndarray) -> None:
    if q.size:
        listed = ", ".join(f"{value:.4g}" for value in q[:8]) + (" …" if q.size > 8 else "")
        warnings.warn(
            f"{q.size} peaks (q = {listed} 1/angstrom) may be more than one line of {phase or 'the structure'}, or "
            "share one, and stay without hkl; name them by hand or lower tolerance",
            UserWarning,
            stacklevel=3,
        )
