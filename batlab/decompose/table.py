"""A series as a table (frame, axis): the one place that turns labelled data into numbers and back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, did_you_mean
from batlab.schema import quantity

# Dimensions that number spectra; the other one of a table is the axis along which a spectrum runs.
LEADING = ("frame", "record", "phase", "channel", "path")
SPECTRA = (*LEADING, "component")  # of references and targets, which may be components of another result
FEW = 0.05  # of the points of the axis may be left out without a word


@dataclass(frozen=True)
class Table:
    """Numbers of a series over (`leading`, `axis`), and what belongs to its rows and columns.

    Attributes
    ----------
    values
        (frame, axis), double; NaN where missing. A view of the data where it can be: never write to it.
    sigma
        Same shape, of ``<name>_sigma``; None without it.
    dims
        (leading dimension, axis), such as ``("frame", "energy")``.
    name, units, long_name
        Of the variable.
    along_frames, along_axis
        Coordinates of the rows and of the columns, as variables.
    dataset
        Where it came from.
    is_single
        One spectrum without a leading dimension was given; `values` has one row.
    """

    values: np.ndarray
    sigma: np.ndarray | None
    dims: tuple[str, str]
    name: str
    units: str
    long_name: str
    along_frames: dict[str, xr.Variable]
    along_axis: dict[str, xr.Variable]
    dataset: xr.Dataset
    is_single: bool

    @property
    def axis_name(self) -> str:
        """Name of the axis along which a spectrum runs."""
        return self.dims[1]

    @property
    def coords(self) -> dict[str, xr.Variable]:
        """Coordinates of rows and columns together."""
        return {**self.along_frames, **self.along_axis}

    @property
    def axis(self) -> np.ndarray:
        """Values of the axis, or the numbers of its points where it has none."""
        known = self.along_axis.get(self.axis_name)
        return np.arange(self.values.shape[1], dtype=float) if known is None else np.asarray(known.values, dtype=float)

    def known(self, function: str) -> tuple[np.ndarray, np.ndarray]:
        """Return which frames and which points of the axis can be used together: no number among them is missing.

        Frames without any number are left out first, then points that are missing in any frame left, so that one
        glitch costs a column and one empty frame a row.

        Raises
        ------
        ValueError
            If fewer than two frames or points are left.

        Warns
        -----
        UserWarning
            More than 5 % of the points are left out.
        """
        finite = np.isfinite(self.values)
        rows = finite.any(axis=1)
        columns = finite[rows].all(axis=0) if rows.any() else np.zeros(finite.shape[1], dtype=bool)
        if columns.sum() < 2 or not rows.any():
            raise ValueError(
                f"{function} needs two points of {self.axis_name!r} that are known in every frame, got {columns.sum()} "
                f"of {len(columns)} in {rows.sum()} frames; select a common range first, or drop the frames with gaps"
            )
        lost = 1.0 - columns.mean()
        if lost > FEW:
            warnings.warn(
                f"{function} leaves out {len(columns) - columns.sum()} of {len(columns)} points of {self.axis_name!r}: "
                "they are missing in at least one frame",
                UserWarning,
                stacklevel=3,
            )
        return rows, columns

    def result(
        self, data: Mapping[str, xr.Variable], *, frames: bool = True, axis: bool = True, **attrs: Any
    ) -> xr.Dataset:
        """Return a Dataset of `data` with the coordinates of rows and columns and the attributes of the source."""
        coords = {**(self.along_frames if frames else {}), **(self.along_axis if axis else {})}
        used = {str(dim) for variable in data.values() for dim in variable.dims}
        if "component" in used and self.dims[0] != "component":
            n = next(one.sizes["component"] for one in data.values() if "component" in one.dims)
            coords["component"] = quantity("component", np.arange(n), "1", "component")
        kept = {name: one for name, one in coords.items() if set(map(str, one.dims)) <= used}
        made = xr.Dataset(dict(data), kept, {**self.dataset.attrs, **attrs})
        return made.isel({self.dims[0]: 0}) if self.is_single and self.dims[0] in made.dims else made


def as_table(
    data: xr.DataArray | xr.Dataset,
    of: str | None = None,
    function: str = "decompose",
    *,
    frames: int = 1,
    leading: tuple[str, ...] = LEADING,
) -> Table:
    """Return the numbers of a series over (frame, axis).

    Parameters
    ----------
    data
        A DataArray over one leading dimension (``frame``, ``record``, ``phase``, ``channel``, ``path``) and one axis,
        or over the axis alone; or a Dataset with such a variable.
    of
        Its name in a Dataset; by default the only one there.
    function
        Public name of the caller, for messages.
    frames
        Fewest frames that it can work with.
    leading
        Dimensions that may number the spectra.

    Raises
    ------
    DimensionError
        Not two dimensions, or none that numbers spectra; too few frames; frames with grids of their own.
    ValueError
        `of` is not in the Dataset, or is needed to choose; values that are no real numbers.

    Examples
    --------
    >>> series = xr.DataArray(np.ones((3, 5)), dims=("frame", "energy"), name="mu")
    >>> as_table(series).values.shape
    (3, 5)
    """
    if isinstance(data, xr.DataArray):
        name = str(data.name or of or "value")
        if of is not None and data.name is not None and of != data.name:
            raise ValueError(f"{function} got the array {data.name!r} and of={of!r}; leave `of` out, or give a Dataset")
        dataset = data.to_dataset(name=name)
        dataset.attrs = {**data.attrs}
        for key in ("units", "long_name"):
            dataset.attrs.pop(key, None)
    elif isinstance(data, xr.Dataset):
        name, dataset = _chosen(data, of, function, leading), data
    else:
        raise TypeError(f"{function} needs a DataArray or a Dataset, got {type(data).__name__}; wrap numbers in one")
    array = dataset[name]
    first, axis, is_single = _dims(array, function, leading)
    if f"{axis}_measured" in dataset.variables:
        told = "bring them onto one with xas.rebin" if axis == "energy" else "bring them onto one first"
        raise DimensionError(f"{function} needs one grid for all frames, got '{axis}_measured'; {told}")
    sigma = dataset.get(f"{name}_sigma")
    values = _numbers(array, first, axis, is_single, function)
    if len(values) < frames:
        raise DimensionError(f"{function} needs at least {frames} frames, got {len(values)}; give it the whole series")
    return Table(
        values=values,
        sigma=None if sigma is None else _numbers(sigma, first, axis, is_single, function),
        dims=(first, axis),
        name=name,
        units=str(array.attrs.get("units", "1")),
        long_name=str(array.attrs.get("long_name", name)),
        along_frames=_coords(array, first, is_single),
        along_axis={str(k): v.variable for k, v in array.coords.items() if v.dims == (axis,)},
        dataset=dataset,
        is_single=is_single,
    )


def _chosen(dataset: xr.Dataset, of: str | None, function: str, leading: tuple[str, ...]) -> str:
    names = [str(name) for name in dataset.data_vars]
    if of is not None:
        if of not in names:
            raise ValueError(f"{function}: no variable {of!r}, there are {', '.join(names)}{did_you_mean(of, names)}")
        return of
    tables = [
        name
        for name in names
        if not name.endswith("_sigma")
        and dataset[name].dtype.kind in "fiu"
        and len(dataset[name].dims) == 2
        and dataset[name].dims[0] in leading
    ]
    if not tables:  # a single spectrum has no leading dimension
        tables = [
            name
            for name in names
            if not name.endswith("_sigma")
            and len(dataset[name].dims) == 1
            and dataset[name].dtype.kind in "fiu"
            and dataset[name].dims[0] not in SPECTRA
        ]
    if len(tables) != 1:
        found = ", ".join(tables) or f"none among {', '.join(names) or 'no variables'}"
        raise ValueError(f"{function} needs one table over (frame, axis), found {found}; name it with of=…")
    return tables[0]


def _dims(array: xr.DataArray, function: str, leading: tuple[str, ...]) -> tuple[str, str, bool]:
    dims = tuple(str(dim) for dim in array.dims)
    if len(dims) == 1 and dims[0] not in SPECTRA:
        return "frame", dims[0], True
    found = [dim for dim in dims if dim in leading]
    if len(dims) != 2 or len(found) != 1:
        raise DimensionError(
            f"{function} needs a table over ('frame', axis), such as ('frame', 'energy'), got {dims}; "
            "select or rename dimensions first"
        )
    return found[0], next(dim for dim in dims if dim != found[0]), False


def _numbers(array: xr.DataArray, leading: str, axis: str, is_single: bool, function: str) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{function} needs real numbers, got {array.name!r} of type {array.dtype}")
    ordered = array.values[None] if is_single else array.transpose(leading, axis).values
    return np.ascontiguousarray(ordered, dtype=float)


def _coords(array: xr.DataArray, leading: str, is_single: bool) -> dict[str, xr.Variable]:
    if is_single:
        return {str(k): v.variable.expand_dims(leading) for k, v in array.coords.items() if v.dims == ()}
    return {str(k): v.variable for k, v in array.coords.items() if v.dims in ((leading,), ())}
