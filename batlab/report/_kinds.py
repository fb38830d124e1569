"""What a result is, told from its dimensions and variables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import xarray as xr

# The order of the page. Every kind has a module-level function of the same name in _results.
ORDER = ("patterns", "frames", "cells", "track", "events", "record", "peaks", "structure", "other")


def kind(table: xr.Dataset) -> str:
    """Return one of `ORDER`."""
    dims = set(map(str, table.dims))
    if "event" in dims:
        return "events"
    if {"frame", "peak"} <= dims and "position" in table:
        return "peaks"
    if "record" in dims:
        return "record"
    if {"frame", "y", "x"} <= dims:
        return "frames"
    if "intensity" in table and any(table["intensity"].dims == ("frame", axis) for axis in ("q", "two_theta")):
        return "patterns"
    if "site" in dims:
        return "structure"
    if "frame" in dims and {"a", "volume"} & {str(name) for name in table.data_vars if table[name].dims == ("frame",)}:
        return "cells"
    if dims == {"frame"}:
        return "track"
    return "other"


def datasets(results: tuple[Any, ...]) -> Iterator[xr.Dataset]:
    """Yield the results as datasets; a tree gives each of its members."""
    for number, result in enumerate(results):
        if isinstance(result, xr.DataTree):
            yield from (node.to_dataset() for node in result.subtree if node.data_vars)
        elif isinstance(result, xr.DataArray):
            yield result.to_dataset(name=result.name or "value")
        elif isinstance(result, xr.Dataset):
            yield result
        else:
            raise TypeError(
                f"report.write shows datasets, got {type(result).__name__} as result {number + 1}; "
                "open a file with bl.open first"
            )


def ordered(results: tuple[Any, ...]) -> list[tuple[str, xr.Dataset]]:
    """Return kind and dataset of every result, in the order of the page."""
    told = [(kind(table), table) for table in datasets(results)]
    return sorted(told, key=lambda pair: ORDER.index(pair[0]))
