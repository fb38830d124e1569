"""Onsets in any series of numbers, with confidence limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr

from batlab.curves.segments import changes
from batlab.errors import DimensionError, choose
from batlab.schema import LEADING, quantity, record

MODELS = {"mean": 3, "linear": 4}  # shortest segment; an outlier must not make one


def change_points(
    series: xr.DataArray | xr.Dataset,
    *,
    model: str = "linear",
    variables: Sequence[str] | None = None,
    false_alarm: float = 0.05,
    level: float = 0.95,
    shortest: int | None = None,
) -> xr.Dataset:
    """Find where series of numbers change: a new level, a jump, or a new slope.

    Each series is cut into segments, each a level (``"mean"``) or a straight line (``"linear"``), by the exact
    minimum of chi² plus a penalty a cut. The penalty is what noise alone would gain anywhere in the series with
    probability `false_alarm` (Bonferroni over places and over series; independent Gaussian noise). σ is that of
    ``<name>_sigma`` where there is one, raised to the scatter of neighbouring points where that is larger, else the
    scatter. A drifting background of noise that is correlated from frame to frame is not allowed for. A curve without
    corners is cut into as many lines as its noise justifies.

    Parameters
    ----------
    series
        Numbers over ``frame`` or ``record``; other dimensions (peaks) are separate series. NaN is left out.
    model
        ``"linear"`` (levels, jumps and slopes) or ``"mean"`` (levels only; stronger where nothing drifts).
    variables
        Names in a Dataset; by default all with a ``_sigma``, else all numbers.
    false_alarm
        Probability of any event in noise, 0 to 1.
    level
        Of the confidence limits, 0 to 1.
    shortest
        Fewest points in a segment; 3 for ``"mean"``, 4 for ``"linear"``.

    Returns
    -------
    xarray.Dataset
        Over ``event``, by onset: ``onset`` in values of the frame coordinate (half way between two frames for a
        jump), ``onset_low``, ``onset_high`` (the narrowest places with `level` of the likelihood, neighbouring
        events held fixed), ``what`` (the series), ``kind`` (``"step"`` or ``"slope"``), ``strength`` (σ: root of the
        chi² gained) and ``confidence`` (1 - probability of this gain from noise). No event gives length 0.

    Raises
    ------
    DimensionError
        If nothing runs over ``frame`` or ``record``.
    ValueError
        For unknown words, or probabilities outside 0 to 1.

    References
    ----------
    Killick et al., J. Am. Stat. Assoc. 107, 1590 (2012), doi:10.1080/01621459.2012.737745;
    Jackson et al., IEEE Signal Process. Lett. 12, 105 (2005), doi:10.1109/LSP.2001.838216.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> level = np.repeat([0.0, 1.0], 40) + np.random.default_rng(0).normal(0, 0.1, 80)
    >>> found = change_points(xr.DataArray(level, dims="frame", name="a"), model="mean")
    >>> found.onset.values.tolist()
    [39.5]
    """
    choose("model", model, MODELS)
    for name, value in (("false_alarm", false_alarm), ("level", level)):
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie between 0 and 1, got {value!r}")
    least = MODELS[model] if shortest is None else int(shortest)
    if least < MODELS[model] - 1:
        raise ValueError(f"shortest must be at least {MODELS[model] - 1} for model {model!r}, got {shortest!r}")
    dataset = series.to_dataset(name=series.name or "value") if isinstance(series, xr.DataArray) else series
    dim = next((name for name in LEADING if name in dataset.dims), None)
    if dim is None:
        raise DimensionError(f"curves.change_points needs dimension 'frame' or 'record', got {tuple(dataset.dims)}")
    columns = list(_columns(dataset, dim, variables))
    rows = []
    for what, x, y, sigma in columns:
        for change in changes(x, y, sigma, model == "linear", false_alarm / len(columns), level, least):
            rows.append((change.onset, change.low, change.high, what, change))
    rows.sort(key=lambda row: (row[0], row[3]))
    events = _events(rows, dataset, dim, len(columns))
    return record(
        events, "curves.change_points", series=series, model=model, variables=variables,
        false_alarm=false_alarm, level=level, shortest=shortest,
    )  # fmt: skip


def _columns(
    dataset: xr.Dataset, dim: str, variables: Sequence[str] | None
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray | None]]:
    """Yield name, coordinate, values and σ of every series, without its NaN."""
    numbers = [str(name) for name, data in dataset.data_vars.items() if dim in data.dims and data.dtype.kind in "fiu"]
    if variables is None:
        stated = [name for name in numbers if f"{name}_sigma" in dataset]
        variables = stated or [name for name in numbers if not name.endswith("_sigma")]
    for name in variables:
        choose("variables", name, numbers)
    if not variables:
        raise DimensionError(f"curves.change_points found no numbers over {dim!r} in {', '.join(map(str, dataset))}")
    coordinate = dataset[dim].values if dim in dataset.coords else np.arange(dataset.sizes[dim])
    place = np.asarray(coordinate if coordinate.dtype.kind in "fiu" else np.arange(len(coordinate)), dtype=float)
    for name in variables:
        others = [d for d in dataset[name].dims if d != dim]
        values = dataset[name].transpose(dim, *others).values.astype(float)
        spread = None
        if f"{name}_sigma" in dataset:
            spread = dataset[f"{name}_sigma"].transpose(dim, *others).values.astype(float)
        for index in np.ndindex(values.shape[1:]):
            y = values[(slice(None), *index)]
            sigma = None if spread is None else spread[(slice(None), *index)]
            known = np.isfinite(y) if sigma is None else np.isfinite(y) & np.isfinite(sigma) & (sigma > 0)
            what = name + "".join(f", {d} {i}" for d, i in zip(others, index))
            yield what, place[known], y[known], None if sigma is None else sigma[known]


def _events(rows: list, dataset: xr.Dataset, dim: str, n_series: int) -> xr.Dataset:
    def numbers(values: list[float], long_name: str) -> xr.Variable:
        return quantity("event", np.array(values, dtype=float), "1", long_name)

    def words(values: list[str], long_name: str) -> xr.Variable:
        return quantity("event", np.array(values, dtype=str if values else "<U1"), "1", long_name)

    found = [row[4] for row in rows]
    chances = [1.0 - min(1.0, change.p_value * n_series) for change in found]
    return xr.Dataset(
        {
            "onset": numbers([row[0] for row in rows], f"{dim} at which the series changes"),
            "onset_low": numbers([row[1] for row in rows], "lower confidence limit of the onset"),
            "onset_high": numbers([row[2] for row in rows], "upper confidence limit of the onset"),
            "what": words([row[3] for row in rows], "series that changes"),
            "kind": words([change.kind for change in found], "step or slope"),
            "strength": numbers([float(np.sqrt(max(change.saved, 0.0))) for change in found], "strength in sigma"),
            "confidence": numbers(chances, "probability that this is no noise"),
        },
        {"event": quantity("event", np.arange(len(rows), dtype=np.int64), "1", "event")},
        dict(dataset.attrs),
    )
