"""A cycler's record too long for memory: checked in one pass over its file, and kept there as dask arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from batlab.errors import ReadError
from batlab.io import _cycler, _rows
from batlab.io._cycler import Column
from batlab.io._rows import Rows
from batlab.io._table import Table
from batlab.schema import quantity

Convert = Callable[[Table], dict[str, Column]]


def dataset(rows: Rows, convert: Convert, *, zero: np.datetime64 | None, attrs: dict[str, Any]) -> xr.Dataset:
    """Return the record of a long file over ``record``; its arrays are read when they are computed.

    Parameters
    ----------
    rows
        The rows of the file.
    convert
        Makes columns, always the same ones, of one piece's table.
    zero
        The time of test time 0 [datetime64, UTC], None where it is not known.
    attrs
        Of the dataset.

    Raises
    ------
    ReadError
        As `_cycler.dataset`, after one pass over the file.
    """
    name = rows.source.name
    parts, runs, n, before = [], [], 0, -np.inf
    form = rows.form
    for piece, table in _rows.tables(rows):
        columns = convert(table)
        seconds = columns["test_time"].values
        if seconds[0] < before:
            raise ReadError(
                f"{name}: the time falls from {before:g} s to {seconds[0]:g} s at record {n}; split the file where the "
                "test was restarted"
            )
        _cycler.check_times(seconds, name, n)
        runs.append(_cycler.counter_runs(columns, n))
        parts.append((piece, table.n_rows))
        n, before = n + table.n_rows, float(seconds[-1])
        form = replace(form, words=frozenset(i for i in range(len(form.names)) if not table.is_number(i)))
    _cycler.tell_disagreement(np.concatenate(runs), name)
    settled = replace(rows, form=form)
    model = convert(_rows.read_piece(settled, parts[0][0]))

    def values(table: Table) -> dict[str, np.ndarray]:
        found = convert(table)
        return {key: one.values.astype(object) if one.values.dtype.kind == "U" else one.values
                for key, one in found.items()}  # fmt: skip

    kinds = {key: np.dtype(object) if one.values.dtype.kind == "U" else one.values.dtype for key, one in model.items()}
    arrays = _rows.lazy_arrays(parts, settled, values, kinds)
    variables = {key: quantity("record", arrays[key], one.units, one.long_name, **one.attrs)
                 for key, one in model.items()}  # fmt: skip
    index = xr.Coordinates({"record": pd.RangeIndex(n, name="record")})
    test_time = variables.pop("test_time")
    result = xr.Dataset(variables, index, attrs).assign_coords(test_time=test_time)
    result["record"].attrs.update(units="1", long_name="line of the record")
    if zero is not None:
        time = zero + test_time.data.map_blocks(_cycler.elapsed, dtype="m8[ns]")
        result = result.assign_coords(time=quantity("record", time, "", "time, UTC"))
    return result
