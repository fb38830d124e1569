"""The files of one cell's life, one after another: counters go on, what is held twice counts once, gaps stay gaps."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.io import _cycler
from batlab.io._cycler import Column

# Counters that start anew in each file and go on in the joined record.
COUNTERS = ("capacity", "charge_capacity", "discharge_capacity", "charge_energy", "discharge_energy")
SHOWN = 6  # seams or cycles named in one message
HOUR = np.timedelta64(3600, "s")


def join(records: list[xr.Dataset], names: list[str]) -> xr.Dataset:
    """Return the records of one cell's files as one, in order of their clocks; the columns that all have.

    Charge, energy and cycles start anew in each file: here they go on from the file before, so that they count what the
    files at hand hold, and nothing of what happened between them. ``test_time`` counts from the first file's zero with
    the gaps in it. ``cycle_in_file`` keeps the files' own numbers, ``file_number`` says which file a record is from,
    ``is_after_gap`` is 1 on the first record of a file that starts later than one record's interval after the one
    before. A cycle that is cut by the end of a file keeps its number; the next file starts another.

    Parameters
    ----------
    records
        As the readers make them: ``test_time``, ``time``.
    names
        The files', for messages and the attribute ``files``.

    Returns
    -------
    Dataset
        Attributes ``files`` and ``left_out`` (names), ``cut_cycles`` (joined numbers of cycles that a file's end
        cuts), ``gaps`` (text, a line each).

    Raises
    ------
    ReadError
        A file has no clock, two overlap without being the same, or their units differ.

    Warns
    -----
    UserWarning
        Names files that hold the same records, of which one is left out; cycles that are cut; gaps.
    """
    if len(records) == 1:
        return records[0]
    for one, name in zip(records, names, strict=True):
        if "time" not in one.coords or "test_time" not in one.coords:
            raise ReadError(f"{name}: states no date, so it cannot be joined with other files; open it alone")
    order = sorted(range(len(records)), key=lambda i: (records[i]["time"].values[0], i))
    kept, left_out = _once(order, records, names)
    for before, after in pairwise(kept):
        if records[after]["time"].values[0] < records[before]["time"].values[-1]:
            raise ReadError(f"{names[after]}: overlaps in time with {names[before]}; open them apart")
    files, titles = [records[i] for i in kept], [names[i] for i in kept]
    columns, time = _columns(files, titles)
    gaps = _gaps(files, titles)
    cut = _cut(files)
    first = np.cumsum([0] + [one.sizes["record"] for one in files[:-1]])
    columns["is_after_gap"] = Column(
        np.isin(np.arange(len(time)), first[[n for n, _, _ in gaps]]).astype(np.int64), "1",
        "whether time is missing before this record",
    )  # fmt: skip
    starts = np.concatenate([[0], np.cumsum([_last_cycle(one) for one in files[:-1]])])
    numbers = [int(starts[n] + cycle) for n, cycle in cut]
    _tell(titles, cut, numbers, gaps)
    attrs = {**files[0].attrs, "files": titles, "gaps": "\n".join(told for _, _, told in gaps)}
    if left_out:
        attrs["left_out"] = left_out
    if numbers:
        attrs["cut_cycles"] = numbers
    return _cycler.dataset(columns, titles[0], time=time, attrs=attrs, is_checked=False)


def _once(order: list[int], records: list[xr.Dataset], names: list[str]) -> tuple[list[int], list[str]]:
    """Return the files without those that hold the same records as one before, and the names of the latter."""
    kept: list[int] = []
    left_out = []
    for i in order:
        twin = next((k for k in kept if _are_same(records[k], records[i])), None)
        if twin is None:
            kept.append(i)
            continue
        left_out.append(names[i])
        warnings.warn(
            f"{names[i]}: holds the same {records[i].sizes['record']} records as {names[twin]}; it is left out, so "
            "that nothing counts twice",
            UserWarning,
            stacklevel=6,
        )
    return kept, left_out


def _are_same(one: xr.Dataset, other: xr.Dataset) -> bool:
    if one.sizes["record"] != other.sizes["record"]:
        return False
    if not (one["time"].values == other["time"].values).all():
        return False
    shared = [key for key in ("voltage", "current", "capacity") if key in one and key in other]
    return all(np.array_equal(one[key].values, other[key].values, equal_nan=True) for key in shared)


def _columns(files: list[xr.Dataset], names: list[str]) -> tuple[dict[str, Column], np.ndarray]:
    shared = [str(key) for key in files[0].data_vars if all(key in one for one in files)]
    columns: dict[str, Column] = {}
    for key in shared:
        parts = [one[key] for one in files]
        for part, name in zip(parts, names, strict=True):
            if part.attrs.get("units") != parts[0].attrs.get("units"):
                raise ReadError(f"{name}: {key!r} has another unit than in {names[0]}; open them apart")
        attrs = {k: v for k, v in parts[0].attrs.items() if k not in ("units", "long_name")}
        long_name, units = parts[0].attrs["long_name"], parts[0].attrs.get("units", "1")
        values = [part.values for part in parts]
        if key == "cycle":
            columns["cycle_in_file"] = Column(np.concatenate(values), units, "number of the cycle in its file", attrs)
            steps = [float(_last_cycle(one)) for one in files]
            long_name = "number of the cycle, of those in the files at hand"
        elif key in COUNTERS:
            steps = [float(part.values[-1]) for part in parts]
            long_name = f"{long_name}, of what the files at hand hold"
        if key == "cycle" or key in COUNTERS:
            before = np.concatenate([[0], np.cumsum(steps[:-1])]).astype(values[0].dtype)
            values = [value + offset for value, offset in zip(values, before, strict=True)]
        columns[key] = Column(np.concatenate(values), units, long_name, attrs)
    zero = _zero(files[0])
    seconds = [(_zero(one) - zero) / np.timedelta64(1, "s") + one["test_time"].values for one in files]
    columns["test_time"] = Column(np.concatenate(seconds), "s", "time since the start of the first file's test")
    which = np.concatenate([np.full(one.sizes["record"], n) for n, one in enumerate(files)])
    columns["file_number"] = Column(which, "1", "number of the file, from 0")
    return columns, np.concatenate([one["time"].values for one in files])


def _zero(one: xr.Dataset) -> np.datetime64:
    return one["time"].values[0] - _cycler.elapsed(one["test_time"].values[:1])[0]


def _last_cycle(one: xr.Dataset) -> int:
    return int(np.nanmax(one["cycle"].values)) if "cycle" in one else 0


def _gaps(files: list[xr.Dataset], names: list[str]) -> list[tuple[int, np.timedelta64, str]]:
    """Return number of the file after each gap, its length, and what to say of it."""
    found = []
    for n, (before, after) in enumerate(pairwise(files), 1):
        length = after["time"].values[0] - before["time"].values[-1]
        usual = np.median(np.diff(before["time"].values)) if before.sizes["record"] > 1 else np.timedelta64(0, "ns")
        if length > max(10 * usual, np.timedelta64(60, "s")):
            told = f"{length / HOUR:.1f} h without a record between {names[n - 1]} and {names[n]}"
            found.append((n, length, told))
    return found


def _cut(files: list[xr.Dataset]) -> list[tuple[int, int]]:
    """Return file and own number of each last cycle that lacks steps which the one before went through."""
    found = []
    for n, one in enumerate(files):
        if "cycle" not in one or "step" not in one:
            continue
        cycle, step = one["cycle"].values, one["step"].values
        last = np.nanmax(cycle)
        earlier = cycle[cycle < last]
        if not earlier.size:
            continue
        before = set(step[cycle == earlier.max()])
        if before - set(step[cycle == last]):
            found.append((n, int(last)))
    return found


def _tell(
    names: list[str], cut: list[tuple[int, int]], numbers: list[int], gaps: list[tuple[int, np.timedelta64, str]]
) -> None:
    if cut:
        pairs = zip(cut, numbers, strict=True)
        told = [f"cycle {number} ({own} of {names[n]})" for (n, own), number in pairs]
        warnings.warn(f"the end of its file cuts {_listed(told)}", UserWarning, stacklevel=6)
    if gaps:
        told = [text for _, _, text in gaps]
        warnings.warn(
            f"{names[0]} …: {_listed(told)}; what happened there is not in the counters, and the numbers of cycles "
            "count those at hand",
            UserWarning,
            stacklevel=6,
        )


def _listed(words: list[str]) -> str:
    shown = ", ".join(words[:SHOWN])
    return f"{shown} and {len(words) - SHOWN} more" if len(words) > SHOWN else shown
