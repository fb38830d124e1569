"""The Battery Data Format of the Battery Data Alliance (Linux Foundation Energy), as csv and Parquet, read and written.

Columns are known by preferred label ("Voltage / V") or machine-readable name ("voltage_volt"); see
https://w3id.org/battery-data-alliance/ontology/battery-data-format. A csv cut inside its last line gives the whole
lines and a `UserWarning`; a cut Parquet file is refused.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, ReadError
from batlab.io import _cycler, _long, _rows, _sign, cycler_text
from batlab.io._cycler import Column
from batlab.io._table import Table, find_decimal, find_separator, texts
from batlab.io._text import peek
from batlab.io.atomic import replacing

NAME = "Battery Data Format records"
HINTS = frozenset({"start", "current_sign", "encoding", "decimal"})

# Base of the label -> variable and what it is; others keep their own names.
QUANTITIES: dict[str, tuple[str, str]] = {
    "test time": ("test_time", "time since the start of the test"),
    "unix time": ("time", "time, UTC"),
    "voltage": ("voltage", "voltage"),
    "current": ("current", "current, positive on charge"),
    "cycle count": ("cycle", "number of the cycle"),
    "cycle": ("cycle", "number of the cycle"),
    "step count": ("step", "number of the step"),
    "step index": ("step_index", "index of the step in the programme"),
    "net capacity": ("capacity", "charge counter of the cycler"),
    "charging capacity": ("charge_capacity", "charge counter of the cycler, charging"),
    "discharging capacity": ("discharge_capacity", "charge counter of the cycler, discharging"),
    "charging energy": ("charge_energy", "energy counter of the cycler, charging"),
    "discharging energy": ("discharge_energy", "energy counter of the cycler, discharging"),
}
# Variable -> preferred label, for writing.
LABELS: dict[str, str] = {
    "test_time": "Test Time / s",
    "voltage": "Voltage / V",
    "current": "Current / A",
    "cycle": "Cycle Count / 1",
    "step": "Step Count / 1",
    "step_index": "Step Index / 1",
    "capacity": "Net Capacity / Ah",
    "charge_capacity": "Charging Capacity / Ah",
    "discharge_capacity": "Discharging Capacity / Ah",
    "charge_energy": "Charging Energy / Wh",
    "discharge_energy": "Discharging Energy / Wh",
}
# Endings of machine-readable names -> unit.
_ENDINGS: dict[str, str] = {
    "_ampere_hour": "Ah",
    "_watt_hour": "Wh",
    "_second": "s",
    "_volt": "V",
    "_ampere": "A",
    "_celsius": "degC",
    "_ah": "Ah",
    "_wh": "Wh",
    "_watt": "W",
    "_ohm": "Ohm",
    "_pascal": "Pa",
    "_pa": "Pa",
    "_dimensionless": "1",
}
_REQUIRED = frozenset({"test time", "unix time", "voltage", "current"})
_KEY = re.compile(
    r"\b(?:voltage / v|current / a|test time / s|unix time / s|voltage_volt|current_ampere|test_time_second)\b",
    re.IGNORECASE,
)


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the file is Parquet, or text whose first line names two BDF columns. Never raises."""
    if head[:4] == b"PAR1":
        return True
    return len(_KEY.findall(peek(head).lstrip().split("\n", 1)[0])) >= 2


def read(paths: list[Path], **hints: Any) -> xr.Dataset:
    """Return the record of one file, or of several files of one cell joined by their clocks.

    Parameters
    ----------
    paths
        ``.bdf``, ``.csv`` or ``.parquet`` files.
    **hints
        ``start``: UTC time of test time 0, for a file without Unix time; ``current_sign``: "positive_charges" (the
        format's convention) or "positive_discharges"; ``encoding``; ``decimal``.

    Returns
    -------
    Dataset
        Over ``record``: ``voltage`` [V], ``current`` [A], ``capacity`` [Ah] from the net capacity, ``cycle``,
        ``step``, other columns under their own names; coordinates ``test_time`` [s], ``time`` (UTC) where known.

    Raises
    ------
    ReadError
        For a file without voltage and time, lines that do not fit the header, and damaged Parquet.

    Warns
    -----
    UserWarning
        The voltage falls while the current is positive: its sign may be the opposite one.
    """
    records = [_read_one(path, hints) for path in paths]
    return _cycler.join(records, [path.name for path in paths])


def _read_one(path: Path, hints: dict[str, Any]) -> xr.Dataset:
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    if is_parquet:
        raw = _parquet(path)
        if not any(_parse(label)[0] in _REQUIRED and _KEY.search(label) for label in raw):
            return cycler_text.of_columns(raw, path.name, hints)
        return _settled(_columns(raw, path.name), path.name, hints)
    source = _rows.open_source(path, hints.get("encoding"))
    header = next((n for n, line in enumerate(source.head, 1) if line.strip()), 1)
    separator = find_separator(source.head[header - 1])
    decimal = hints.get("decimal") or find_decimal("\n".join(source.head[header - 1 :]), separator)
    rows = _rows.rows_below(source, header, separator=separator, decimal=decimal)
    if not source.is_long:
        return _settled(_columns(_of_table(_rows.whole_table(rows)), path.name), path.name, hints)
    rule = hints.get("current_sign") or "positive_charges"
    if rule == "voltage":
        raise ReadError(f"{path.name}: is too long for current_sign='voltage', which needs the whole record in memory")
    first = _settled(_columns(_of_table(next(_rows.tables(rows))[1]), path.name), path.name, hints)
    zero = first["time"].values[0] - _cycler.elapsed(first["test_time"].values[:1])[0] if "time" in first else None
    since = None if zero is None else (zero - np.datetime64(0, "ns")) / np.timedelta64(1, "s")

    def convert(table: Table) -> dict[str, Column]:
        columns = _columns(_of_table(table), path.name)
        unix = columns.pop("time", None)
        if "test_time" not in columns and unix is not None and since is not None:
            columns["test_time"] = Column(unix.values - since, "s", QUANTITIES["test time"][1])
        if "current" in columns and rule == "positive_discharges":
            columns["current"] = replace(columns["current"], values=0.0 - columns["current"].values)
        return columns

    return _long.dataset(rows, convert, zero=zero, attrs={})


def _columns(raw: dict[str, np.ndarray], name: str) -> dict[str, Column]:
    """Return the columns by variable, in the units of the data model; ``time`` is still Unix time."""
    columns: dict[str, Column] = {}
    for label, values in raw.items():
        base, unit = _parse(label)
        variable, long_name = QUANTITIES.get(base, (_cycler.slug(base), base))
        if variable == "time" and values.dtype == np.float32:
            raise ReadError(f"{name}: {label!r} is a 32-bit number, whose steps are 128 s; write it as 64-bit")
        one = _cycler.column(values, unit, long_name) if unit in _cycler.UNITS else Column(values, unit, long_name)
        key = variable if base in QUANTITIES else _cycler.free_name(variable, one.units, columns)
        if key in columns:
            raise ReadError(f"{name}: two columns hold {key!r}, one of them {label!r}")
        columns[key] = one
    for needed in ("test_time", "voltage"):
        if needed not in columns and not (needed == "test_time" and "time" in columns):
            raise ReadError(f"{name}: has no column {LABELS[needed]!r}; it names {', '.join(map(repr, raw))}")
    return columns


def _settled(columns: dict[str, Column], name: str, hints: dict[str, Any]) -> xr.Dataset:
    time = _clock(columns, hints.get("start"), name)
    _sign_current(columns, hints.get("current_sign"), name)
    return _cycler.dataset(columns, name, time=time)


def _parse(label: str) -> tuple[str, str]:
    """Return base and unit of a label; the unit is a key of ``_cycler.UNITS`` where it is known.

    >>> _parse("Net Capacity / Ah"), _parse("voltage_volt"), _parse("cycle_count"), _parse("Conductivity / mS/cm")
    (('net capacity', 'Ah'), ('voltage', 'V'), ('cycle count', '1'), ('conductivity', 'mS/cm'))
    """
    # The unit may have a slash of its own: "Conductivity / mS/cm".
    base, slash, unit = label.partition(" / ") if " / " in label else label.rpartition("/")
    if slash:
        return " ".join(base.lower().split()), _cycler.known_unit(unit) or unit.strip() or "1"
    machine = label.strip().lower()
    for ending, unit in _ENDINGS.items():
        if machine.endswith(ending):
            return machine.removesuffix(ending).replace("_", " "), unit
    return machine.replace("_", " "), "1"


def _of_table(table: Table) -> dict[str, np.ndarray]:
    return _unique(
        [(label, table.numbers(i) if table.is_number(i) else texts(table, i)) for i, label in enumerate(table.names)],
        table.name,
    )


def _parquet(path: Path) -> dict[str, np.ndarray]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # memory_map is off: a file cut while mapped would end the process.
        table = pq.read_table(path, memory_map=False, use_threads=False, partitioning=None)
        return _unique([(name, _array(table.column(i))) for i, name in enumerate(table.column_names)], path.name)
    except (pa.ArrowException, OSError) as error:
        raise ReadError(f"{path.name}: is no whole Parquet file ({error}); it may be truncated") from error


def _array(column: Any) -> np.ndarray:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind):
        # Seconds since 1970 in UTC; Arrow keeps zoned times as UTC.
        return column.cast(pa.timestamp("ns", tz=kind.tz)).cast(pa.int64()).to_numpy() / 1e9
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return column.to_numpy()
    return np.array([str(value) for value in column.to_pylist()])


def _unique(pairs: list[tuple[str, np.ndarray]], name: str) -> dict[str, np.ndarray]:
    found = dict(pairs)
    if len(found) < len(pairs):
        labels = [label for label, _ in pairs]
        twice = next(label for label in labels if labels.count(label) > 1)
        raise ReadError(f"{name}: names the column {twice!r} twice")
    return found


def _clock(columns: dict[str, Column], start: Any, name: str) -> np.ndarray | None:
    unix = columns.pop("time", None)
    if unix is not None:
        values = np.asarray(unix.values, float)
        known = np.isfinite(values)
        if not known.any():
            raise ReadError(f"{name}: 'Unix Time / s' holds no number")
        time = np.full(len(values), np.datetime64("NaT"), dtype="M8[ns]")
        # A 64-bit number of seconds since 1970 is good to 0.2 microseconds.
        time[known] = np.round(values[known] * 1e6).astype("M8[us]")
        if "test_time" not in columns:
            columns["test_time"] = Column(values - values[known][0], "s", QUANTITIES["test time"][1])
        return time
    if start is not None and "test_time" in columns:
        return _cycler.utc(start) + _cycler.elapsed(columns["test_time"].values)
    return None


def _sign_current(columns: dict[str, Column], rule: str | None, name: str) -> None:
    if "current" not in columns:
        return
    current, voltage = columns["current"], columns["voltage"].values
    values = _sign.signed(current.values, voltage, rule or "positive_charges", name)
    columns["current"] = Column(values, current.units, current.long_name)
    if rule is None and _sign.agreement(values, voltage) < -0.5:
        warnings.warn(
            f"{name}: the voltage falls where the current is positive; if positive current discharges this cell, pass "
            "current_sign='positive_discharges', else current_sign='positive_charges'",
            UserWarning,
            stacklevel=4,
        )


def write(ds: xr.Dataset, path: str | Path, *, overwrite: bool = False, progress: bool = False) -> None:
    """Write a cycler's record as BDF: Parquet for the ending ``.parquet``, else csv.

    Columns get their preferred labels; ``time`` becomes Unix time, a 64-bit number good to the microsecond. Attributes
    are not kept. What is lazy is written piece by piece; `progress` has nothing to show.

    Raises
    ------
    AlreadyThereError
        `path` is there and `overwrite` is False.
    DimensionError
        `ds` is no record of a cycler.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    target = Path(path)
    is_record = isinstance(ds, xr.Dataset) and "record" in ds.dims and "voltage" in ds
    if not is_record or not ({"test_time", "time"} & set(ds.variables)):
        raise DimensionError(
            f"{target.name}: BDF holds a cycler's record: dimension 'record', 'voltage', 'test_time'; save other data "
            "as .nc or .zarr"
        )
    tables = (pa.table(_labelled(part)) for part in _parts(ds))
    first = next(tables)
    with replacing(target, overwrite) as unfinished:
        if target.suffix.lower() == ".parquet":
            with pq.ParquetWriter(unfinished, first.schema) as writer:
                writer.write_table(first)
                for table in tables:
                    writer.write_table(table.cast(first.schema))
            return
        with unfinished.open("wb") as file:
            # Arrow would quote the names, which the format's preferred labels do not need.
            file.write((",".join(first.column_names) + "\n").encode())
            options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
            for table in chain([first], tables):
                pyarrow.csv.write_csv(table, file, options)


def _parts(ds: xr.Dataset) -> Iterator[xr.Dataset]:
    """Yield the record whole, or, where it is lazy, computed chunk by chunk."""
    sizes = ds.chunksizes.get("record")
    if not sizes:
        yield ds
        return
    end = 0
    for size in sizes:
        yield ds.isel(record=slice(end, end + size)).compute(scheduler="synchronous")
        end += size


def _labelled(ds: xr.Dataset) -> dict[str, Any]:
    import pyarrow as pa

    arrays = {}
    for name in ("test_time", "time", *ds.data_vars):
        if name not in ds.variables or ds[name].dims != ("record",):
            continue
        one = ds[name]
        if name == "time":
            unix = (one.values - np.datetime64(0, "ns")) / np.timedelta64(1, "s")
            arrays["Unix Time / s"] = pa.array(unix, from_pandas=True)
            continue
        label = LABELS.get(str(name)) or f"{str(name).replace('_', ' ').title()} / {one.attrs.get('units', '1')}"
        arrays[label] = pa.array(one.values, from_pandas=True)
    return arrays
