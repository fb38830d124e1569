"""Non-negative factors of a series, found alike every time."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from batlab.decompose._pca import components, spread
from batlab.decompose.table import as_table
from batlab.schema import quantity, record

SMALL = 1e-12  # of the mean: where a factor is zero it could not grow again by itself


def nmf(
    data: xr.DataArray | xr.Dataset,
    n_components: int,
    *,
    of: str | None = None,
    max_iterations: int = 500,
    tolerance: float = 1e-5,
) -> xr.Dataset:
    """Write a series as concentration times spectra, neither of them negative.

    Hierarchical alternating least squares: each column of either factor in turn takes its best non-negative value. The
    start is made of the singular vectors' positive and negative parts, so that the same data give the same answer. It
    is a local minimum, and seldom the only answer: many pairs of factors fit as well (see ``bands``).

    Parameters
    ----------
    data
        Over (frame, axis). Negative values (noise) are taken as 0, with a warning where they weigh; gaps as in `pca`.
    n_components
        1 to the smaller of frames and points.
    of
        Variable of a Dataset.
    max_iterations
        At least 1.
    tolerance
        The search ends when the slope, projected on what may move, has fallen to this part of its first value.

    Returns
    -------
    xarray.Dataset
        ``concentration`` (frame, component), ``spectra`` (component, axis; largest value 1), in the order of their
        share; ``share`` (component) of the sum of all values; ``residual_rms`` (frame). Attributes
        ``relative_error`` (norm of the residual by that of the data), ``n_iterations``, ``is_converged``.

    Raises
    ------
    ValueError
        Numbers out of range; data mostly negative.

    Warns
    -----
    UserWarning
        Not converged, or negative values of more than 1 % of the sum of squares.

    References
    ----------
    Cichocki and Phan, IEICE Trans. Fundam. E92-A, 708 (2009), doi:10.1587/transfun.E92.A.708; Boutsidis and
    Gallopoulos, Pattern Recognit. 41, 1350 (2008), doi:10.1016/j.patcog.2007.09.010.

    Examples
    --------
    >>> part = np.linspace(0, 1, 6)[:, None]
    >>> mixed = part @ np.array([[1.0, 2, 0]]) + (1 - part) @ np.array([[0, 2, 3.0]])
    >>> found = nmf(xr.DataArray(mixed, dims=("frame", "energy")), 2)
    >>> found.attrs["relative_error"] < 1e-3
    True
    """
    table = as_table(data, of, "decompose.nmf", frames=2)
    rows, columns = table.known("decompose.nmf")
    values = _positive(table.values[np.ix_(rows, columns)])
    most = min(values.shape)
    for name, value, limit in (("n_components", n_components, most), ("max_iterations", max_iterations, 10**9)):
        if isinstance(value, bool) or int(value) != value or not 1 <= value <= limit:
            raise ValueError(f"{name} must be a whole number from 1 to {limit}, got {value!r}")
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance must lie between 0 and 1, got {tolerance!r}")
    w, h = start(values, int(n_components))
    w, h, n_done, slope = _iterate(values, w, h, int(max_iterations), tolerance)
    if slope > tolerance:
        warnings.warn(
            f"decompose.nmf has not converged in {n_done} iterations: the slope is {slope:.2g} of the first, tolerance "
            f"{tolerance:g}; raise max_iterations",
            UserWarning,
            stacklevel=2,
        )
    tops = h.max(axis=1)
    tops[tops <= 0] = 1.0
    w, h = w * tops, h / tops[:, None]
    weight = w.sum(axis=0) * h.sum(axis=1)
    order = np.argsort(-weight, kind="stable")
    w, h, weight = w[:, order], h[order], weight[order]
    residual = values - w @ h
    frame, axis = table.dims
    data_vars = {
        "concentration": quantity((frame, "component"), spread(w, rows, 0), table.units, "amount"),
        "spectra": quantity(("component", axis), spread(h, columns, 1), "1", "spectrum, largest value 1"),
        "share": quantity("component", weight / weight.sum(), "1", "share of the sum of all values"),
        "residual_rms": quantity(
            frame, spread(np.sqrt((residual**2).mean(axis=1)), rows, 0), table.units, "residual (root mean square)"
        ),
    }
    error = float(np.linalg.norm(residual) / np.linalg.norm(values))
    result = table.result(data_vars, relative_error=error, n_iterations=n_done, is_converged=int(slope <= tolerance))
    return record(
        result, "decompose.nmf", of=table.name, n_components=n_components, max_iterations=max_iterations,
        tolerance=tolerance,
    )  # fmt: skip


def _positive(values: np.ndarray) -> np.ndarray:
    below = np.minimum(values, 0.0)
    lost = float((below**2).sum() / max((values**2).sum(), 1e-300))
    if not (values > 0).any() or lost > 0.5:
        raise ValueError(
            f"decompose.nmf needs data that are not negative; {100 * lost:.0f} % of the squares are below 0"
        )
    if lost > 0.01:
        warnings.warn(
            f"decompose.nmf takes values below zero as zero; they are {100 * lost:.1f} % of the sum of squares",
            UserWarning,
            stacklevel=3,
        )
    return np.maximum(values, 0.0)


def start(values: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positive factors from the stronger signed part of each pair of singular vectors."""
    scores, singular, loadings, _ = components(values, np.zeros(values.shape[1]), n)
    w, h = np.zeros((len(values), n)), np.zeros((n, values.shape[1]))
    for j in range(n):
        left, right = scores[:, j] / max(singular[j], 1e-300), loadings[j]
        pairs = [(np.maximum(sign * left, 0), np.maximum(sign * right, 0)) for sign in (1.0, -1.0)]
        sizes = [np.linalg.norm(u) * np.linalg.norm(v) for u, v in pairs]
        (u, v), size = max(zip(pairs, sizes), key=lambda one: one[1])
        if size > 0:
            scale = np.sqrt(singular[j] * size)
            w[:, j], h[j] = scale * u / np.linalg.norm(u), scale * v / np.linalg.norm(v)
    least = np.sqrt(values.mean() / n)
    return np.where(w > 0, w, 0.01 * least), np.where(h > 0, h, 0.01 * least)


def _iterate(
    values: np.ndarray, w: np.ndarray, h: np.ndarray, most: int, tolerance: float
) -> tuple[np.ndarray, np.ndarray, int, float]:
    """Return factors, passes done, and the projected slope over its first value."""
    first, ratio, done = None, 1.0, 0
    while done < most and ratio > tolerance:
        done += 1
        cross, gram = values @ h.T, h @ h.T
        slope = _slope(w, w @ gram - cross)
        _sweep(w, cross, gram)
        cross, gram = values.T @ w, w.T @ w
        slope += _slope(h.T, h.T @ gram - cross)
        _sweep(h.T, cross, gram)
        first = slope if first is None else first
        ratio = float(np.sqrt(slope / first)) if first > 0 else 0.0
    return w, h, done, ratio


def _slope(factor: np.ndarray, gradient: np.ndarray) -> float:
    """Return the squares of the gradient where the factor may follow it."""
    return float((np.where(factor > 0, gradient, np.minimum(gradient, 0.0)) ** 2).sum())


def _sweep(factor: np.ndarray, cross: np.ndarray, gram: np.ndarray) -> None:
    """Give each column of `factor` in turn its best non-negative value, in place (a factor of our own)."""
    least = SMALL * max(float(factor.mean()), 1e-300)
    for j in range(factor.shape[1]):
        if gram[j, j] > 0:
            step = (cross[:, j] - factor @ gram[:, j]) / gram[j, j]
            np.maximum(factor[:, j] + step, 0.0, out=factor[:, j])
        if not factor[:, j].any():
            factor[:, j] = least
