"""What a phase does as a whole: how far its lines have moved, and how much of it there is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from batlab.errors import SchemaError
from batlab.xrd import least_squares
from batlab.xrd.index import axis_of, labels

NO_PEAK = 3  # status of curves.fit_peaks: looked for, not significant
OFTEN = 0.8  # of the frames
SWEEPS = 10  # of the median polish


class Track(NamedTuple):
    """One phase over the frames; `amount` is 1 at its most, None where only the cell is known."""

    phase: str
    strain: np.ndarray
    strain_sigma: np.ndarray
    amount: np.ndarray | None
    amount_sigma: np.ndarray | None


def tracks_of(data: xr.Dataset) -> list[Track]:
    """Return one track for each phase of a peak table, or the one of a table of cells.

    Raises
    ------
    SchemaError
        The Dataset is neither.
    """
    if "position" in data and "peak" in data.dims:
        owner = labels(data)[1]
        names = list(dict.fromkeys(owner))
        return [_from_peaks(data, np.flatnonzero(owner == name), str(name)) for name in names]
    if "volume" in data and "volume_sigma" in data:
        volume = np.asarray(data["volume"].values, dtype=float)
        strain = np.log(volume / np.nanmedian(volume)) / 3 if np.isfinite(volume).any() else volume
        sigma = np.asarray(data["volume_sigma"].values, dtype=float) / volume / 3
        return [Track(str(data.attrs.get("phase", "")), strain, sigma, None, None)]
    raise SchemaError(
        "xrd.phase_changes needs a peak table (curves.fit_peaks) or cells (xrd.refine_cell), got "
        + (", ".join(map(str, data.data_vars)) or "nothing")
    )


def _from_peaks(peaks: xr.Dataset, mine: np.ndarray, name: str) -> Track:
    axis, _ = axis_of(peaks)
    mine = mine[_steady(peaks, mine)]
    read = {
        key: np.asarray(peaks[key].transpose("frame", "peak").values, dtype=float)[:, mine]
        for key in ("position", "position_sigma", "area", "area_sigma")
    }
    if axis == "q":
        log_d, lever = -np.log(read["position"]), 1 / read["position"]
    else:
        theta = np.radians(read["position"] / 2)
        log_d, lever = -np.log(np.sin(theta)), np.pi / 360 / np.tan(theta)
    strain, strain_sigma = _common(log_d, lever * read["position_sigma"], lever)
    area, sigma = read["area"], read["area_sigma"]
    if "status" in peaks:
        status = peaks["status"].transpose("frame", "peak").values[:, mine]
        gone = status == NO_PEAK
        # One line may be hidden or broad; the phase has gone where most of its lines have.
        gone &= gone.sum(axis=1, keepdims=True) > (status < NO_PEAK).sum(axis=1, keepdims=True)
        typical = _median(np.where(np.isfinite(sigma), sigma, np.nan), 0)
        area, sigma = np.where(gone, 0.0, area), np.where(gone, typical, sigma)
    known = [column[np.isfinite(column)] for column in area.T]
    largest = np.array([np.percentile(column, 95) if column.size else np.nan for column in known])
    largest = np.where(largest > 0, largest, np.nan)
    amount, amount_sigma = _mean(area / largest, sigma / largest)
    return Track(name, strain, strain_sigma, amount, amount_sigma)


def _steady(peaks: xr.Dataset, mine: np.ndarray) -> np.ndarray:
    """Return the lines seen in most of the frames in which most lines are; all, where these are fewer than three.

    A line that is hidden half of the time tells of what hides it.
    """
    seen = np.isfinite(peaks["position"].transpose("frame", "peak").values[:, mine])
    there = seen.mean(axis=1) > 0.5
    steady = seen[there].mean(axis=0) > OFTEN if there.any() else np.zeros(len(mine), dtype=bool)
    return steady if steady.sum() >= 3 else np.ones(len(mine), dtype=bool)


def _mean(values: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    weight = np.where(np.isfinite(values) & np.isfinite(sigma) & (sigma > 0), sigma, np.inf) ** -2.0
    total = weight.sum(axis=1)
    known = total > 0
    mean, error = np.full((2, len(values)), np.nan)
    filled = np.where(weight > 0, values, 0.0)
    mean[known] = (weight * filled).sum(axis=1)[known] / total[known]
    away = (weight * (filled - mean[:, None]) ** 2)[known].sum(axis=1)
    spare = np.maximum((weight > 0).sum(axis=1)[known] - 1, 1)
    error[known] = total[known] ** -0.5 * np.sqrt(np.maximum(away / spare, 1.0))  # lines may disagree: texture, overlap
    return mean, error


def _common(values: np.ndarray, sigma: np.ndarray, lever: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the lines of a phase share, each with its own constant: absent lines then make no jump.

    The constants come from a median polish, so that a line which follows something else does not set them.
    """
    known = np.isfinite(values) & np.isfinite(sigma) & (sigma > 0)
    values = np.where(known, values, np.nan)
    own = _median(values, 0)
    for _ in range(SWEEPS if values.shape[1] > 1 else 0):
        own = own + _median(values - own - _median(values - own, 1)[:, None], 0)
    rest, ones = values - own, np.ones((*values.shape, 1))
    fitted = least_squares.fit(ones, rest, sigma, lever)
    wrong = least_squares.denied(fitted, known)
    if wrong.any() and not wrong.all():
        fitted = least_squares.fit(ones[:, ~wrong], rest[:, ~wrong], sigma[:, ~wrong], lever[:, ~wrong])
    mean = fitted.parameters[:, 0]
    return mean - (np.nanmedian(mean) if np.isfinite(mean).any() else 0.0), np.sqrt(fitted.covariance[:, 0, 0])


def _median(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the median of what is known; NaN where nothing is."""
    result = np.full(values.shape[1 - axis], np.nan)
    some = np.isfinite(values).any(axis=axis)
    result[some] = np.nanmedian(values[:, some] if axis == 0 else values[some], axis=axis)
    return result
