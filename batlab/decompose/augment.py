"""Series that share spectra or concentrations, put together as one table of numbers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from scipy.linalg import eigh

from batlab.decompose.table import Table, as_table
from batlab.errors import DimensionError, choose, did_you_mean
from batlab.schema import quantity, same_grid

Series = xr.DataArray | xr.Dataset
FINEST = 1e-8  # of the rms of a table: no noise is taken for less


@dataclass(frozen=True, eq=False)
class Block:
    """One series within the whole: which rows and columns it fills, and how much it was scaled."""

    name: str
    table: Table
    rows: np.ndarray  # which of the series' own frames are used
    columns: np.ndarray  # which of its points of the axis
    place: slice  # in the whole: rows where spectra are shared, columns where concentrations are
    scale: float


@dataclass(frozen=True, eq=False)
class Whole:
    """All series as one array (frame, axis), scaled, without gaps."""

    values: np.ndarray
    blocks: tuple[Block, ...]
    share: str | None

    @property
    def sets(self) -> tuple[slice, ...]:
        """Stretches of frames that belong together."""
        if self.share == "spectra":
            return tuple(block.place for block in self.blocks)
        return (slice(0, len(self.values)),)

    @property
    def spectral(self) -> tuple[Block, ...]:
        """One block for every stretch of the axis."""
        return self.blocks if self.share == "concentrations" else self.blocks[:1]

    def part(self, block: Block) -> slice:
        """Return which columns of the whole the spectra of a block fill."""
        return block.place if self.share == "concentrations" else slice(0, self.values.shape[1])

    def frames(self, name: str, values: np.ndarray, units: str, long_name: str) -> xr.Variable:
        """Return numbers of every used frame (first dimension) as a variable; frames left out are NaN."""
        if self.share == "spectra":
            used = np.concatenate([block.rows for block in self.blocks])
        else:
            used = self.blocks[0].rows
        full = np.full((len(used), *values.shape[1:]), np.nan)
        full[used] = values
        dims = ("frame",) if values.ndim == 1 else ("frame", "component")
        return quantity(dims, full, units, long_name)

    def axis(self, stem: str, values: np.ndarray, long_name: str) -> dict[str, xr.Variable]:
        """Return numbers (component, axis of the whole) as variables in the units of each series."""
        out = {}
        for block in self.spectral:
            full = np.full((len(values), len(block.columns)), np.nan)
            full[:, block.columns] = values[:, self.part(block)] / block.scale
            named = stem if self.share != "concentrations" else stem.replace("spectra", f"spectra_{block.name}", 1)
            told = long_name if self.share != "concentrations" else f"{long_name}, {block.name}"
            out[named] = quantity(("component", block.table.axis_name), full, block.table.units, told)
        return out

    def coords(self) -> dict[str, Any]:
        """Return the coordinates of the result."""
        n = sum(len(block.rows) for block in self.blocks) if self.share == "spectra" else len(self.blocks[0].rows)
        found: dict[str, Any] = {}
        for block in self.blocks:
            found |= block.table.along_axis
        if self.share == "spectra":
            names = np.repeat([block.name for block in self.blocks], [len(block.rows) for block in self.blocks])
            found["set"] = xr.Variable("frame", names, {"long_name": "series the frame belongs to"})
            if all("time" in block.table.along_frames for block in self.blocks):
                times = [block.table.along_frames["time"] for block in self.blocks]
                joined = np.concatenate([one.values for one in times])
                if (np.diff(joined) >= np.timedelta64(0)).all():
                    found["time"] = xr.Variable("frame", joined, times[0].attrs)
            found["frame"] = quantity("frame", np.arange(n), "1", "frame, counted through all series")
            return found
        return {**found, **self.blocks[0].table.along_frames}


def whole(series: Series | Mapping[str, Series], of: str | None, share: str | None, rank: int, function: str) -> Whole:
    """Return one series, or several that share spectra or concentrations, as one array.

    Series that share concentrations are each divided by their noise (the residual of their own `rank` singular
    values), so that none outvotes the others by its unit or by its number of points' worth of signal alone.

    Raises
    ------
    DimensionError
        Unequal grids along what is shared, or two axes of one name with unequal grids.
    ValueError
        `share` is missing or unknown.
    """
    if not isinstance(series, Mapping) or isinstance(series, xr.Dataset):
        if share is not None:
            raise ValueError(
                f"share={share!r} needs several series: give them by name, {{'charge': …, 'discharge': …}}"
            )
        table = _framed(as_table(series, of, function, frames=2), function)
        rows, columns = _known(table, function)
        values = np.ascontiguousarray(table.values[rows][:, columns])
        return Whole(values, (Block("", table, rows, columns, slice(0, len(values)), 1.0),), None)
    choose("share", share, ("spectra", "concentrations"))
    if len(series) < 2:
        raise ValueError(f"share={share!r} needs two or more series, got {list(series)}")
    tables = {str(name): _framed(as_table(one, of, function, frames=2), function) for name, one in series.items()}
    known = {name: _known(table, function) for name, table in tables.items()}
    together = _stacked if share == "spectra" else _beside
    return together(tables, known, rank, function)


def _known(table: Table, function: str) -> tuple[np.ndarray, np.ndarray]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows, columns = table.known(function)
    for one in caught:
        warnings.warn(str(one.message), UserWarning, stacklevel=5)
    return rows, columns


def _framed(table: Table, function: str) -> Table:
    if table.dims[0] != "frame":
        raise DimensionError(f"{function} needs a series over ('frame', axis), got {table.dims}; rename the first")
    return table


def _stacked(tables: dict[str, Table], known: dict, rank: int, function: str) -> Whole:
    first = next(iter(tables.values()))
    for table in tables.values():
        if table.axis_name != first.axis_name or table.values.shape[1] != first.values.shape[1]:
            raise DimensionError(
                f"{function}: series that share spectra need one grid, got {first.values.shape[1]} points of "
                f"{first.axis_name!r} and {table.values.shape[1]} of {table.axis_name!r}; bring them onto one first"
            )
        same_grid(function, first.dataset[[first.name]], table.dataset[[table.name]], (first.axis_name,))
    columns = np.logical_and.reduce([one[1] for one in known.values()])
    parts, blocks, start = [], [], 0
    for name, table in tables.items():
        part = table.values[known[name][0]][:, columns]
        blocks.append(Block(name, table, known[name][0], columns, slice(start, start + len(part)), 1.0))
        parts.append(part)
        start += len(part)
    return Whole(np.concatenate(parts), tuple(blocks), "spectra")


def _beside(tables: dict[str, Table], known: dict, rank: int, function: str) -> Whole:
    first = next(iter(tables.values()))
    seen: dict[str, np.ndarray] = {}
    for name, table in tables.items():
        if len(table.values) != len(first.values):
            raise DimensionError(
                f"{function}: series that share concentrations need the same frames, got {len(first.values)} and "
                f"{len(table.values)}; bring them onto one time axis first with align.onto_frames"
            )
        same_grid(function, first.dataset[[first.name]], table.dataset[[table.name]], ("frame",))
        if table.axis_name in seen and not np.array_equal(seen[table.axis_name], table.axis):
            raise DimensionError(
                f"{function}: {name!r} has another grid of {table.axis_name!r} than the series before it; one dataset "
                "cannot hold both: join them along the axis into one series first"
            )
        seen[table.axis_name] = table.axis
        if not name.isidentifier():
            raise ValueError(f"name series by words that can stand in a variable's name, got {name!r}")
    rows = np.logical_and.reduce([one[0] for one in known.values()])
    parts, blocks, start = [], [], 0
    for name, table in tables.items():
        part = table.values[rows][:, known[name][1]]
        scale = 1.0 / noise(part, rank)
        blocks.append(Block(name, table, rows, known[name][1], slice(start, start + part.shape[1]), scale))
        parts.append(part * scale)
        start += part.shape[1]
    return Whole(np.concatenate(parts, axis=1), tuple(blocks), "concentrations")


def noise(values: np.ndarray, rank: int) -> float:
    """Return the noise of a table: what its first `rank` singular values leave, per degree of freedom.

    >>> table = np.outer([1.0, 2.0, 3.0, 4.0], np.ones(50)) + np.random.default_rng(0).normal(0, 0.1, (4, 50))
    >>> bool(0.09 < noise(table, 1) < 0.11)
    True
    """
    rows, columns = values.shape
    _, _, left = principal(values, rank)
    freedom = max((rows - rank) * (columns - rank), 1)
    floor = FINEST * np.sqrt(np.einsum("jx,jx->", values, values) / values.size)
    return max(float(np.sqrt(left / freedom)), float(floor), 1e-300)


def principal(values: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return scores (frame, rank) and loadings (axis, rank) of the first singular vectors, and the squares they leave.

    From the eigenvectors of the smaller product of the table with itself, a tenth of the time of its singular value
    decomposition, which takes over where the last of the `rank` singular values is too small for it.
    """
    wide = values.shape[0] <= values.shape[1]
    gram = values @ values.T if wide else values.T @ values
    n = len(gram)
    strength, vectors = eigh(gram, subset_by_index=[n - rank, n - 1])
    if strength[0] > 1e-9 * strength[-1]:
        vectors = vectors[:, ::-1]
        # One more product makes the other side orthogonal to rounding, whatever the first has lost.
        other, size, turn = np.linalg.svd(values.T @ vectors if wide else values @ vectors, full_matrices=False)
        scores, loadings = (vectors @ turn.T * size, other) if wide else (other * size, vectors @ turn.T)
    else:
        left, size, right = np.linalg.svd(values, full_matrices=False)
        scores, loadings = left[:, :rank] * size[:rank], right[:rank].T
    rest = values - scores @ loadings.T
    return scores, loadings, float(np.einsum("jx,jx->", rest, rest))


def on_axis(whole: Whole, given: Any, what: str) -> np.ndarray:
    """Return a spectrum of the user's as one row of the whole, scaled; NaN where it is not known."""
    row = np.full(whole.values.shape[1], np.nan)
    if whole.share == "concentrations":
        if not isinstance(given, Mapping):
            raise ValueError(f"{what}: series share concentrations, so give {{name of the series: spectrum}}")
        names = [block.name for block in whole.blocks]
        for name in given:
            if name not in names:
                raise ValueError(f"{what}: no series {name!r}, there are {names}{did_you_mean(name, names)}")
    for block in whole.spectral:
        one = given.get(block.name) if whole.share == "concentrations" else given
        if one is not None:
            row[whole.part(block)] = _one_spectrum(block, one, what) * block.scale
    return row


def _one_spectrum(block: Block, given: Any, what: str) -> np.ndarray:
    axis = block.table.axis_name
    if isinstance(given, xr.DataArray):
        if given.dims != (axis,):
            raise DimensionError(f"{what} must run over ({axis!r},), got {given.dims}")
        if axis in given.coords and not np.array_equal(given[axis].values, block.table.axis):
            raise DimensionError(
                f"{what} must stand on the series' grid of {axis!r} exactly; bring it there first with curves.regrid"
            )
        given = given.values
    numbers = np.asarray(given, dtype=float)
    if numbers.shape != block.columns.shape:
        raise DimensionError(f"{what} must hold {len(block.columns)} points of {axis!r}, got {numbers.shape}")
    return numbers[block.columns]


def starts(whole: Whole, given: Any, rank: int) -> np.ndarray | Sequence:
    """Return start values of the user's, whole spectra or concentrations, as an array; NaN columns are cut."""
    numbers = np.asarray(given.values if isinstance(given, xr.DataArray) else given, dtype=float)
    used = whole.blocks[0].columns
    if whole.share != "concentrations" and numbers.shape == (rank, len(used)):
        return numbers[:, used]
    rows = np.concatenate([block.rows for block in whole.blocks]) if whole.share == "spectra" else whole.blocks[0].rows
    if numbers.shape == (len(rows), rank):
        return numbers[rows]
    raise ValueError(
        f"init must hold spectra ({rank}, {len(used)}) or concentrations ({len(rows)}, {rank}), got {numbers.shape}"
    )
