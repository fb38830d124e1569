"""What is in a file, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rich.table import Table
from rich.text import Text

LONGEST = 100  # characters of an attribute


def describe(found: Any) -> Iterator[Table | Text]:
    """Yield tables that tell what `found` is: a Dataset, a tree of them, or a geometry."""
    if isinstance(found, xr.DataTree):
        for node in found.subtree:
            if node.data_vars:
                yield from _dataset(node.to_dataset(), f"{node.path} ")
    elif isinstance(found, xr.Dataset):
        yield from _dataset(found, "")
    elif is_dataclass(found):
        yield _pairs(type(found).__name__, {field.name: getattr(found, field.name) for field in fields(found)})
    else:
        raise TypeError(f"batlab info cannot describe a {type(found).__name__}")


def _dataset(data: xr.Dataset, name: str) -> Iterator[Table | Text]:
    sizes = ", ".join(f"{dim} {size}" for dim, size in data.sizes.items())
    table = Table(title=Text(f"{name}{sizes or 'no dimensions'}"), title_justify="left")
    for column in ("name", "dimensions", "units", "range", "what"):
        table.add_column(column)
    for key, variable in data.variables.items():
        units = str(variable.attrs.get("units", ""))
        what = str(variable.attrs.get("long_name", ""))
        row = (str(key), ", ".join(map(str, variable.dims)), units, _range(data[key]), what)
        table.add_row(*(Text(cell) for cell in row), style="" if key in data.data_vars else "cyan")
    yield table
    if data.attrs:
        yield _pairs("", data.attrs)


def _range(values: xr.DataArray) -> str:
    """Return first and last, or least and greatest, of what is in memory; detector frames are not read for it."""
    if values.size == 0:
        return "empty"
    if values.chunks is not None and values.ndim > 2:
        return f"{values.dtype}, read when needed"
    if values.dtype.kind == "M":
        known = values.values[~np.isnat(values.values)]
        return f"{_second(known.min())} to {_second(known.max())} UTC" if known.size else "unknown"
    if values.dtype.kind == "b":
        return f"{int(values.sum())} of {values.size} true"
    if values.dtype.kind not in "iuf":
        first = str(values.values.flat[0])
        return first if len(first) < 40 else f"{first[:37]}..."
    numbers = np.asarray(values.values, dtype=float)
    known = numbers[np.isfinite(numbers)]
    if known.size == 0:
        return "unknown"
    low, high = known.min(), known.max()
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"


def _second(time: np.datetime64) -> str:
    return str(np.datetime_as_string(time, unit="s")).replace("T", " ")


def _pairs(title: str, pairs: dict[Any, Any]) -> Table:
    table = Table(show_header=False, title=title or None, title_justify="left", box=None)
    for key, value in pairs.items():
        text = str(value)
        shown = text if key == "history" or len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
        table.add_row(Text(str(key), style="cyan"), Text(shown))
    return table


def marks_beside(files: Sequence[Path], *, must_exist: bool) -> list[Any]:
    """Return the marks in the stores `files`, or in the stores that lie beside the results `files`."""
    from batlab.failure import Store

    stores = list(files) if must_exist else [path.with_name(f"{path.stem}.marks.sqlite") for path in files]
    found = []
    for store in dict.fromkeys(stores):
        if must_exist and not store.is_file():
            raise FileNotFoundError(f"{store} is not there")
        if store.is_file():
            found += Store(store).marks()
    return found
