"""Target transformation: does a spectrum lie in the space that a series spans?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from batlab.decompose._pca import components, spread
from batlab.decompose.lcf_table import references_of
from batlab.decompose.table import as_table
from batlab.schema import quantity, record

# Malinowski's reading of SPOIL, as EXAFS programs print it.
READING = ((1.5, "excellent"), (3.0, "good"), (4.5, "fair"), (6.0, "acceptable"), (np.inf, "unacceptable"))


def target_transform(
    data: xr.DataArray | xr.Dataset,
    targets: Mapping[str, Any] | xr.DataArray | xr.Dataset,
    n_components: int,
    *,
    of: str | None = None,
) -> xr.Dataset:
    """Rotate the components of a series to known spectra and say how well each is reached.

    With components ``data = scores @ loadings + error``, not centred, a target ``t`` is foretold as its projection on
    the loadings. Its apparent error AET is what the projection leaves (over points less components); REP is
    what the error of the data puts into the foretold one, RE times the length of the transformation
    vector; ``RET = sqrt(AET² - REP²)`` is the target's own error and ``SPOIL = RET / REP``: below 3 a target is good,
    above 6 it is none of the series. With low noise REP is small and SPOIL strict: look at the R-factor too. A mixture
    of true species passes as well as a pure one.

    Parameters
    ----------
    data
        Over (frame, axis); gaps as in `pca`.
    targets
        ``{"name": spectrum, …}`` or a table whose rows are targets (over ``frame`` or ``component``), on exactly the
        axis of the series.
    n_components
        1 to the smaller of frames and points less one; see ``rank``.
    of
        Variable of the Datasets.

    Returns
    -------
    xarray.Dataset
        Over ``component``, here the targets, named by ``target``: ``spoil``, ``apparent_error`` (AET),
        ``predictor_error`` (REP), ``target_error`` (RET, 0 where AET is below REP), ``r_factor``, ``reading`` in words;
        ``predicted`` (component, axis). Attribute ``real_error`` (RE).

    Raises
    ------
    DimensionError
        Axes that differ, or no table.
    ValueError
        `n_components` out of range, targets without enough known points.

    References
    ----------
    Malinowski, Anal. Chim. Acta 103, 339 (1978); Beauchemin, Hesterberg and Beauchemin, Soil Sci. Soc. Am. J. 66, 83
    (2002), doi:10.2136/sssaj2002.8300.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> pure = rng.uniform(size=(3, 60))
    >>> noisy = rng.dirichlet([1, 1], 20) @ pure[:2] + rng.normal(0, 0.01, (20, 60))
    >>> names = {name: xr.DataArray(one, dims="energy") for name, one in zip("abc", pure)}
    >>> found = target_transform(xr.DataArray(noisy, dims=("frame", "energy")), names, 2)
    >>> (found.spoil < 3).values.tolist()
    [True, True, False]
    """
    table = as_table(data, of, "decompose.target_transform", frames=2)
    names, values = references_of(targets, of, table, "decompose.target_transform")
    rows, columns = table.known("decompose.target_transform")
    columns &= np.isfinite(values).all(axis=0)
    known = table.values[np.ix_(rows, columns)]
    most = min(known.shape) - 1
    if isinstance(n_components, bool) or int(n_components) != n_components or not 1 <= n_components <= most:
        raise ValueError(f"n_components must be a whole number from 1 to {most}, got {n_components!r}")
    n = int(n_components)
    _, singular, loadings, total = components(known, np.zeros(known.shape[1]), n)
    longer, shorter = max(known.shape), min(known.shape)
    error = float(np.sqrt(max(total - (singular**2).sum(), 0.0) / (longer * (shorter - n))))
    aims = values[:, columns]
    along = aims @ loadings.T
    predicted = along @ loadings
    squares = ((aims - predicted) ** 2).sum(axis=1)
    apparent = np.sqrt(squares / (known.shape[1] - n))
    with np.errstate(divide="ignore", invalid="ignore"):
        predictor = error * np.sqrt(((along / singular) ** 2).sum(axis=1))
        own = np.sqrt(np.maximum(apparent**2 - predictor**2, 0.0))
        spoil = np.where(own > 0, own / predictor, 0.0)
        r_factor = squares / (aims**2).sum(axis=1)
    reading = np.array([next(word for limit, word in READING if one < limit or limit == np.inf) for one in spoil])
    whole = spread(predicted, columns, 1)

    def variable(numbers: np.ndarray, units: str, long_name: str) -> xr.Variable:
        return quantity("component", numbers, units, long_name)

    data_vars = {
        "spoil": variable(spoil, "1", "SPOIL, error of the target over that of its prediction"),
        "apparent_error": variable(apparent, table.units, "apparent error of the target (AET)"),
        "predictor_error": variable(predictor, table.units, "error of the prediction (REP)"),
        "target_error": variable(own, table.units, "real error of the target (RET)"),
        "r_factor": variable(r_factor, "1", "R-factor"),
        "reading": variable(reading, "1", "SPOIL in words"),
        "predicted": quantity(("component", table.dims[1]), whole, table.units, "target as the series foretells it"),
    }
    result = table.result(data_vars, frames=False, real_error=error, n_components=n)
    result = result.assign_coords(target=quantity("component", np.array(names), "1", "target"))
    return record(result, "decompose.target_transform", of=table.name, targets=names, n_components=n_components)
