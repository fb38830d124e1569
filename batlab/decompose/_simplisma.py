"""The purest points or frames of a series, and what they make of the rest."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from batlab._kernels.nnls import bounded_least_squares
from batlab.decompose._pca import spread
from batlab.decompose.table import as_table
from batlab.errors import choose
from batlab.schema import quantity, record
from batlab.threads import effective


def simplisma(
    data: xr.DataArray | xr.Dataset,
    n_components: int,
    *,
    of: str | None = None,
    pure: str = "axis",
    offset: float = 0.05,
) -> xr.Dataset:
    """Choose the purest variables (points of the axis) or the purest frames one after another.

    Purity of a point is its standard deviation over the series by its mean plus an offset, which keeps noise on small
    means from looking pure; each next choice is weighted by how independent it is of those before (a determinant). A
    point where one species alone absorbs gives that species' profile, a frame that holds one species its spectrum; what
    is not known yet follows by non-negative least squares. Where no pure point or frame exists the answer is only a
    start for ``mcr_als``, and its spectra are mixtures.

    Parameters
    ----------
    data
        Over (frame, axis), not negative but for noise; gaps as in `pca`.
    n_components
        1 to the smaller of frames and points.
    of
        Variable of a Dataset.
    pure
        ``"axis"``: pure points, as published; ``"frame"``: pure frames, better for spectra that overlap everywhere.
    offset
        Part of the largest mean that is added to every mean, 0 to 1; about the noise, usually 0.01 to 0.15.

    Returns
    -------
    xarray.Dataset
        ``concentration`` (frame, component), ``spectra`` (component, axis), ``purity`` (component, axis or frame)
        before each choice, ``pure_index`` (component) and ``pure_value`` of the axis or frame, ``residual_rms``
        (frame).

    Raises
    ------
    ValueError
        An unknown word, numbers out of range, or fewer independent variables than components.

    Warns
    -----
    UserWarning
        Means below zero by more than the offset: purity means nothing there.

    References
    ----------
    Windig and Guilment, Anal. Chem. 63, 1425 (1991), doi:10.1021/ac00014a016.

    Examples
    --------
    >>> part = np.linspace(0, 1, 5)[:, None]
    >>> mixed = part @ np.array([[1.0, 2, 0]]) + (1 - part) @ np.array([[0, 2, 3.0]])
    >>> found = simplisma(xr.DataArray(mixed, dims=("frame", "energy")), 2, offset=0.01)
    >>> sorted(found.pure_index.values.tolist())
    [0, 2]
    """
    choose("pure", pure, ("axis", "frame"))
    if not 0 < offset <= 1:
        raise ValueError(f"offset must lie above 0 and not above 1, got {offset!r}")
    table = as_table(data, of, "decompose.simplisma", frames=2)
    rows, columns = table.known("decompose.simplisma")
    values = table.values[np.ix_(rows, columns)]
    most = min(values.shape)
    if isinstance(n_components, bool) or int(n_components) != n_components or not 1 <= n_components <= most:
        raise ValueError(f"n_components must be a whole number from 1 to {most}, got {n_components!r}")
    chosen, purity = _purest(values if pure == "axis" else values.T, int(n_components), offset)
    if pure == "axis":
        concentration = np.maximum(values[:, chosen], 0.0)
        spectra = non_negative(concentration, values).T
    else:
        spectra = np.maximum(values[chosen], 0.0)
        concentration = non_negative(spectra.T, values.T)
    left = np.sqrt(((values - concentration @ spectra) ** 2).mean(axis=1))
    known, along = (columns, table.dims[1]) if pure == "axis" else (rows, table.dims[0])
    place = np.flatnonzero(known)[chosen]
    axis = table.axis if pure == "axis" else np.arange(len(rows), dtype=float)
    units = str(table.along_axis[along].attrs.get("units", "1")) if along in table.along_axis else "1"
    frame, points = table.dims
    whole = spread(purity, known, 1)
    data_vars = {
        "concentration": quantity((frame, "component"), spread(concentration, rows, 0), table.units, "amount")
        if pure == "axis"
        else quantity((frame, "component"), spread(concentration, rows, 0), "1", "part of the pure frame"),
        "spectra": quantity(
            ("component", points), spread(spectra, columns, 1), "1" if pure == "axis" else table.units, "pure spectrum"
        ),
        "purity": quantity(("component", points), whole, "1", "purity before this choice")
        if pure == "axis"
        else quantity((frame, "component"), whole.T, "1", "purity before this choice"),
        "pure_index": quantity("component", place, "1", f"place of the purest {along}"),
        "pure_value": quantity("component", axis[place], units, f"purest {along}"),
        "residual_rms": quantity(frame, spread(left, rows, 0), table.units, "residual (root mean square)"),
    }
    result = table.result(data_vars, pure=pure, offset=offset)
    return record(
        result, "decompose.simplisma", of=table.name, n_components=n_components, pure=pure, offset=offset
    )  # fmt: skip


def _purest(values: np.ndarray, n: int, offset: float) -> tuple[list[int], np.ndarray]:
    """Return the purest columns of `values`, and the purity of all (choice, column) before each choice."""
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    alpha = offset * float(mean.max())
    if not alpha > 0:
        raise ValueError("decompose.simplisma: no mean is above zero; it needs data that are not negative")
    below = int((mean <= -alpha).sum())
    if below:
        warnings.warn(
            f"decompose.simplisma: {below} means lie below zero by more than the offset; they are not chosen",
            UserWarning,
            stacklevel=3,
        )
    size = np.sqrt(mean**2 + (deviation + alpha) ** 2)
    ratio = np.where(mean > -alpha, deviation / np.where(mean > -alpha, mean + alpha, 1.0), 0.0)
    scaled = values / size / np.sqrt(len(values))
    chosen: list[int] = []
    purity = np.zeros((n, values.shape[1]))
    determinant, basis = 1.0, np.zeros((len(values), 0))
    for step in range(n):
        # Gram-Schmidt: a determinant of correlations is the product of what each leaves of the next.
        rest = scaled - basis @ (basis.T @ scaled)
        left = (rest**2).sum(axis=0)
        purity[step] = determinant * left * ratio
        best = int(np.argmax(purity[step]))
        if not left[best] > 1e-24 or not purity[step, best] > 0:
            raise ValueError(
                f"decompose.simplisma finds {step} independent variables, asked for {n}; ask decompose.rank how many"
            )
        chosen.append(best)
        determinant *= float(left[best])
        basis = np.column_stack([basis, rest[:, best] / np.sqrt(left[best])])
    return chosen, purity


def non_negative(left: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the weights (column of `values`, column of `left`) that make `values` of the columns of `left`."""
    m = left.shape[1]
    return bounded_least_squares(
        np.ascontiguousarray(left.T @ left)[None], np.ascontiguousarray(values.T @ left), np.zeros(m),
        np.full(m, np.inf), n_threads=effective(),
    )[0]  # fmt: skip
