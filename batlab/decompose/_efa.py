"""Evolving factor analysis: where in a series components appear, and where they vanish."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import xarray as xr

from batlab.decompose._pca import gram_matrix, spread
from batlab.decompose.table import as_table
from batlab.schema import quantity, record

WINDOWS = 200  # whose eigenvalues are found; between them, in a longer series, lines are drawn


def efa(data: xr.DataArray | xr.Dataset, n_components: int = 6, *, of: str | None = None) -> xr.Dataset:
    """Return the eigenvalues of a series cut after (forward) and before (backward) every frame.

    A component that appears at a frame lifts a forward eigenvalue from the noise there; one that vanishes lets a
    backward eigenvalue fall to it. If what comes first goes first, forward curve j and backward curve n + 1 - j belong
    to one component: the smaller of the two outlines its profile, a start for ``mcr_als``. For a closed
    process without order (charge and discharge in one series) that rule does not hold; cut such a series first.

    Parameters
    ----------
    data
        Over (frame, axis) in the order of time; gaps as in `pca`. The mean is not taken off.
    n_components
        How many eigenvalues to follow, and components to outline: 1 to the smaller of frames and points.
    of
        Variable of a Dataset.

    Returns
    -------
    xarray.Dataset
        ``forward`` and ``backward`` (frame, component): eigenvalues (sums of squares) of the frames up to and from
        each, NaN while there are fewer frames than components; ``concentration`` (frame, component), the outlined
        profiles as square roots, the largest value 1. Of more than 200 frames the eigenvalues of 200 evenly spread
        windows are found and joined by straight lines; the attribute ``n_windows`` says so.

    Raises
    ------
    DimensionError
        Fewer than three frames.
    ValueError
        `n_components` out of range.

    References
    ----------
    Maeder, Anal. Chem. 59, 527 (1987), doi:10.1021/ac00130a035.

    Examples
    --------
    >>> profile = np.array([[1, 0], [1, 0], [0.5, 0.5], [0, 1], [0, 1.0]])
    >>> series = xr.DataArray(profile @ np.array([[1.0, 2, 0], [0, 1, 2]]), dims=("frame", "energy"))
    >>> found = efa(series, 2)
    >>> bool(found.forward[1, 1] < 1e-12), bool(found.forward[2, 1] > 0.1)
    (True, True)
    """
    table = as_table(data, of, "decompose.efa", frames=3)
    rows, columns = table.known("decompose.efa")
    values = table.values[np.ix_(rows, columns)]
    n, most = len(values), min(len(values), values.shape[1])
    if isinstance(n_components, bool) or int(n_components) != n_components or not 1 <= n_components <= most:
        raise ValueError(f"n_components must be a whole number from 1 to {most}, got {n_components!r}")
    n_components = int(n_components)
    ends = np.unique(np.linspace(1, n, min(n, WINDOWS)).round().astype(int))
    forward = _joined(_evolving(values, ends, n_components), ends, n)
    backward = _joined(_evolving(values[::-1], ends, n_components), ends, n)[::-1]
    outline = np.fmin(np.nan_to_num(forward), np.nan_to_num(backward[:, ::-1]))
    outline = np.sqrt(np.maximum(outline, 0.0))
    outline /= np.maximum(outline.max(axis=0), 1e-300)
    frame = table.dims[0]
    square = f"{table.units}^2" if table.units != "1" else "1"

    def variable(numbers: np.ndarray, units: str, long_name: str) -> xr.Variable:
        return quantity((frame, "component"), spread(numbers, rows, 0), units, long_name)

    data_vars = {
        "forward": variable(forward, square, "eigenvalue of the frames up to this one"),
        "backward": variable(backward, square, "eigenvalue of the frames from this one"),
        "concentration": variable(outline, "1", "outlined profile"),
    }
    result = table.result(data_vars, axis=False, n_windows=len(ends))
    return record(result, "decompose.efa", of=table.name, n_components=n_components)


def _evolving(values: np.ndarray, ends: np.ndarray, n_components: int) -> np.ndarray:
    """Return the largest eigenvalues (window, component) of the first `ends` frames, NaN where there are fewer."""
    found = np.full((len(ends), n_components), np.nan)
    short = len(values) < values.shape[1]
    gram = gram_matrix(values, np.zeros(values.shape[1])) if short else np.zeros((values.shape[1],) * 2)
    before = 0
    for row, end in enumerate(ends):
        if short:
            part = gram[:end, :end]
        else:
            gram += values[before:end].T @ values[before:end]
            part, before = gram, end
        size, k = len(part), min(n_components, len(part), end)
        largest = scipy.linalg.eigh(part, eigvals_only=True, subset_by_index=(size - k, size - 1))
        found[row, :k] = np.maximum(largest[::-1], 0.0)
    return found


def _joined(numbers: np.ndarray, ends: np.ndarray, n: int) -> np.ndarray:
    """Return numbers of every frame from those of some windows."""
    if len(ends) == n:
        return numbers
    return np.stack([np.interp(np.arange(1, n + 1), ends, column) for column in numbers.T], axis=1)
