"""What the page is made of, before it is HTML: text is plain here and escaped in `_page`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

MOST_ROWS = 1000
LONG = 100  # rows of a folded table from which on it stays folded on paper


@dataclass
class Table:
    """A table of text; a folded one is opened by a click, and printed unless it is `LONG`."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    is_folded: bool = False


@dataclass
class Section:
    """A heading, sentences, Bokeh figures with captions, tables; a wide one is printed on landscape pages."""

    title: str
    lead: str = ""
    figures: list[tuple[str, Any]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    summary: str = ""
    is_wide: bool = False


def rows_to_show(n_rows: int) -> tuple[list[int], str]:
    """Return the rows of a long table, evenly thinned to `MOST_ROWS`, and what to say of it."""
    if n_rows <= MOST_ROWS:
        return list(range(n_rows)), ""
    step = -(-n_rows // MOST_ROWS)
    return list(range(0, n_rows, step)), f" (every {step}th of {n_rows})"


def one_number_a_frame(table: xr.Dataset) -> Iterator[str]:
    """Yield the variables that are one number a frame, uncertainties apart."""
    for name, variable in table.data_vars.items():
        plain = variable.dims == ("frame",) and variable.dtype.kind in "iuf" and not str(name).endswith("_sigma")
        if plain and variable.attrs.get("flag_values") is None:
            yield str(name)


def frame_number(table: xr.Dataset, position: int) -> str:
    """Return the number of the frame at `position`."""
    return str(table["frame"].values[position]) if "frame" in table.coords else str(position)


def known(values: xr.DataArray) -> np.ndarray:
    """Return where `values` is a number."""
    return np.flatnonzero(np.isfinite(np.asarray(values.values, dtype=float)))
