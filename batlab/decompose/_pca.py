"""Principal components: the few directions that carry most of a series."""

from __future__ import annotations

import warnings

import numpy as np
import scipy.linalg
import xarray as xr

from batlab.decompose.table import as_table
from batlab.schema import quantity, record

BLOCK = 4096  # frames that are centred at a time, so that no second copy of a long series is made
NARROW = 1e-5  # of the largest singular value: smaller ones do not survive squaring


def pca(
    data: xr.DataArray | xr.Dataset, n_components: int | None = None, *, of: str | None = None, center: bool = True
) -> xr.Dataset:
    """Return principal components of a series, its mean spectrum taken off or not, as stated.

    ``data = mean + scores @ loadings + residual``. The eigenvectors of the smaller of the two Gram matrices (frames or
    points) are found, whatever the length of the series; only where squaring would lose small singular values the table
    itself is decomposed. Loadings are orthonormal, each with its largest value positive.

    Parameters
    ----------
    data
        Over (frame, axis): spectra, diffraction patterns. Frames without data get NaN scores; points of the axis that
        miss in any other frame are left out and are NaN in the loadings.
    n_components
        At least 1; by default all that the data can have.
    of
        Variable of a Dataset, ``"mu_norm"``.
    center
        True takes the mean spectrum off, as statistics does: a series of n species then has n - 1 components if
        their sum is constant. False (Malinowski, Athena, target tests): n species are n components, the first is
        nearly the mean.

    Returns
    -------
    xarray.Dataset
        ``scores`` (frame, component), ``loadings`` (component, axis), ``mean_spectrum`` (axis; 0 without `center`),
        ``singular_value`` (component), ``explained_variance_ratio`` (component) of the centred or raw sum of squares,
        ``residual_rms`` (frame) of what the components leave. Attributes ``is_centered``, ``sum_of_squares``.

    Raises
    ------
    DimensionError
        No table, or fewer than two frames.
    ValueError
        More components than the data can have, or less than two common points.

    Examples
    --------
    >>> pure = np.array([[1.0, 2, 0, 1], [0, 1, 3, 1]])
    >>> mixed = np.linspace([1, 0], [0, 1], 6) @ pure
    >>> found = pca(xr.DataArray(mixed, dims=("frame", "energy")), 1)
    >>> round(float(found.explained_variance_ratio[0]), 9)
    1.0
    """
    table = as_table(data, of, "decompose.pca", frames=2)
    rows, columns = table.known("decompose.pca")
    values = table.values if rows.all() and columns.all() else table.values[np.ix_(rows, columns)]
    most = min(len(values) - bool(center), values.shape[1])
    n = most if n_components is None else _whole("n_components", n_components, most, center)
    mean = values.mean(axis=0) if center else np.zeros(values.shape[1])
    scores, singular, loadings, total = components(values, mean, n)
    if total == 0.0:
        warnings.warn("decompose.pca: the series does not vary at all; no component means anything", stacklevel=2)
    left = np.maximum(row_squares(values, mean) - (scores**2).sum(axis=1), 0.0)
    frame, axis = table.dims
    ratio = singular**2 / total if total > 0 else np.full(n, np.nan)
    what = "variance" if center else "sum of squares"
    data_vars = {
        "scores": quantity((frame, "component"), spread(scores, rows, 0), table.units, "scores"),
        "loadings": quantity(("component", axis), spread(loadings, columns, 1), "1", "loadings"),
        "mean_spectrum": quantity(
            axis, spread(mean, columns, 0), table.units, f"mean {table.long_name}" if center else "origin"
        ),
        "singular_value": quantity("component", singular, table.units, "singular value"),
        "explained_variance_ratio": quantity("component", ratio, "1", f"explained part of the {what}"),
        "residual_rms": quantity(
            frame, spread(np.sqrt(left / len(mean)), rows, 0), table.units, "residual (root mean square)"
        ),
    }
    result = table.result(data_vars, is_centered=int(center), sum_of_squares=float(total))
    return record(result, "decompose.pca", of=table.name, n_components=n_components, center=center)


def components(values: np.ndarray, mean: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return scores, singular values, loadings of the first `n` components of `values` less `mean`, and all squares."""
    short = len(values) < values.shape[1]
    gram = gram_matrix(values, mean)
    size = len(gram)
    weights, vectors = scipy.linalg.eigh(gram, subset_by_index=(size - n, size - 1))
    total, vectors = float(np.trace(gram)), vectors[:, ::-1]
    if not weights[0] > NARROW**2 * weights[-1]:
        left, singular, right = np.linalg.svd(values - mean, full_matrices=False)
        scores, singular, loadings = left[:, :n] * singular[:n], singular[:n], right[:n]
    elif short:
        singular = np.sqrt(weights[::-1])
        loadings = ((vectors.T @ values - vectors.sum(axis=0)[:, None] * mean).T / singular).T
        scores = vectors * singular
    else:
        singular, loadings = np.sqrt(weights[::-1]), vectors.T
        scores = np.concatenate([(values[i : i + BLOCK] - mean) @ vectors for i in range(0, len(values), BLOCK)])
    largest_at = np.abs(loadings).argmax(axis=1)
    sign = np.where(loadings[np.arange(n), largest_at] < 0, -1.0, 1.0)
    return scores * sign, singular, loadings * sign[:, None], total


def gram_matrix(values: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the smaller Gram matrix of `values` less `mean`, of frames or of points."""
    if len(values) < values.shape[1]:
        centred = values - mean
        return centred @ centred.T
    gram = np.zeros((values.shape[1],) * 2)
    for i in range(0, len(values), BLOCK):
        block = values[i : i + BLOCK] - mean
        gram += block.T @ block
    return gram


def row_squares(values: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the sum of squares of every row of `values` less `mean`."""
    blocks = [values[i : i + BLOCK] - mean for i in range(0, len(values), BLOCK)]
    return np.concatenate([np.einsum("ij,ij->i", one, one) for one in blocks])


def spread(numbers: np.ndarray, known: np.ndarray, along: int) -> np.ndarray:
    """Return `numbers` at the places where `known` is True along one dimension, NaN at the others."""
    if known.all():
        return numbers
    shape = list(numbers.shape)
    shape[along] = len(known)
    full = np.full(shape, np.nan)
    full[(slice(None),) * along + (known,)] = numbers
    return full


def _whole(name: str, value: int, most: int, center: bool) -> int:
    if isinstance(value, bool) or int(value) != value or not 1 <= value <= most:
        why = " less one for the mean" if center else ""
        raise ValueError(
            f"{name} must be a whole number from 1 to {most} (the smaller of frames{why} and known points), "
            f"got {value!r}"
        )
    return int(value)
