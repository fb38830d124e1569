"""BioLogic's binary records: ``.mpr`` of EC-Lab, whatever the technique.

The layout was read off four files that lie beside their text exports (GCPL, Modulo Bat, PEIS, OCV; data modules 3 and
11). A file is a row of modules: the word MODULE, a short and a long name, a length, a version, a date, the content.
"VMP data" holds the number of records, the numbers of its columns, and the records, packed; the "VMP LOG" holds the
start as days since 1899. Widths that do not add up to a record are refused, so no column is read from another's bytes.
"""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError
from batlab.io import _cycler, biologic, local_clock
from batlab.io._cycler import Column

NAME = "BioLogic records (.mpr)"
HINTS = frozenset({"timezone", "start", "columns"})

MAGIC = b"BIO-LOGIC MODULAR FILE\x1a"
FIRST_MODULE = 52  # bytes
DATA_OFFSET = {3: 406, 11: 1007}  # version of the data module -> first byte of its records
START_OFFSET = 585  # of the start of the acquisition in the log, a double
LARGEST_OFFSET = 4096

# Bits of the one byte that all of these share: number -> label, shift, mask.
FLAGS: dict[int, tuple[str, int, int]] = {
    1: ("mode", 0, 3),
    2: ("ox/red", 2, 1),
    3: ("error", 3, 1),
    21: ("control changes", 4, 1),
    31: ("Ns changes", 5, 1),
    65: ("counter inc.", 7, 1),
}
# Number -> label and type, each checked against a text export of the same measurement.
COLUMNS: dict[int, tuple[str, str]] = {
    4: ("time/s", "<f8"),
    5: ("control/V/mA", "<f4"),
    6: ("Ewe/V", "<f4"),
    7: ("dq/mA.h", "<f8"),
    8: ("I/mA", "<f4"),
    13: ("(Q-Qo)/mA.h", "<f8"),
    24: ("cycle number", "<f8"),
    32: ("freq/Hz", "<f4"),
    33: ("|Ewe|/V", "<f4"),
    34: ("|I|/A", "<f4"),
    35: ("Phase(Z)/deg", "<f4"),
    36: ("|Z|/Ohm", "<f4"),
    37: ("Re(Z)/Ohm", "<f4"),
    38: ("-Im(Z)/Ohm", "<f4"),
    39: ("I Range", "<u2"),
    70: ("P/W", "<f4"),
    74: ("|Energy|/W.h", "<f8"),
    76: ("<I>/mA", "<f4"),
    77: ("<Ewe>/V", "<f4"),
    96: ("|Ece|/V", "<f4"),
    98: ("Phase(Zce)/deg", "<f4"),
    99: ("|Zce|/Ohm", "<f4"),
    100: ("Re(Zce)/Ohm", "<f4"),
    101: ("-Im(Zce)/Ohm", "<f4"),
    131: ("Ns", "<u2"),
    169: ("Cs/µF", "<f4"),
    172: ("Cp/µF", "<f4"),
    430: ("Phase(Zwe-ce)/deg", "<f4"),
    431: ("|Zwe-ce|/Ohm", "<f4"),
    432: ("Re(Zwe-ce)/Ohm", "<f4"),
    433: ("-Im(Zwe-ce)/Ohm", "<f4"),
    467: ("Q charge/discharge/mA.h", "<f8"),
    468: ("half cycle", "<u4"),
    469: ("z cycle", "<u4"),
    471: ("<Ece>/V", "<f4"),
    473: ("THD Ewe/%", "<f4"),
    474: ("THD I/%", "<f4"),
    476: ("NSD Ewe/%", "<f4"),
    477: ("NSD I/%", "<f4"),
    479: ("NSR Ewe/%", "<f4"),
    480: ("NSR I/%", "<f4"),
    **{486 + i: (f"|Ewe h{i + 2}|/V", "<f4") for i in range(6)},
    **{492 + i: (f"|I h{i + 2}|/A", "<f4") for i in range(6)},
}
TECHNIQUES = {
    0x04: "Galvanostatic Cycling with Potential Limitation",
    0x0B: "Open Circuit Voltage",
    0x1D: "Potentio Electrochemical Impedance Spectroscopy",
    0x7F: "Modulo Bat",
}


@dataclass(frozen=True)
class Module:
    """One module of the file: its version and content."""

    version: int
    content: memoryview


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the file is EC-Lab's binary record. Never raises."""
    return head.startswith(MAGIC)


def read(paths: list[Path], **hints: Any) -> xr.Dataset:
    """Return the record of one file, or of several files of one test joined by their clocks.

    Parameters
    ----------
    paths
        ``.mpr`` files.
    **hints
        ``timezone``, e.g. "Europe/Paris": the file's clock is local and names no zone; ``start``: UTC time of test
        time 0; ``columns``: labels of columns that are not known here, by their number, ``{16: "Analog IN 1/V"}``.

    Returns
    -------
    Dataset
        As of the text export: ``voltage`` [V], ``current`` [A], ``capacity`` [Ah], ``cycle``, ``step`` and the file's
        own columns over ``record``; ``test_time`` [s], ``time`` (UTC). Where the file holds charge steps and no
        current, the current is their quotient by the time between records, as EC-Lab exports it; where it counts half
        cycles only, a cycle is two of them.

    Raises
    ------
    ReadError
        For a file that is cut, or whose columns are not known and cannot be told apart; with their numbers.

    Warns
    -----
    UserWarning
        Without ``timezone``; for columns of unknown meaning, which are kept by number; for a file without its log.
    """
    zone = local_clock.zone_of(hints.get("timezone"))
    start = None if hints.get("start") is None else _cycler.utc(hints["start"])
    if start is not None and len(paths) > 1:
        raise ReadError(f"{paths[1].name}: start= belongs to one file; open the files one by one")
    records = [_read_one(path, zone, start, hints.get("columns") or {}) for path in paths]
    if zone is None and start is None and any("time" in one.coords for one in records):
        local_clock.warn_unstated(paths[0].name, stacklevel=2)
    return _cycler.join(records, [path.name for path in paths])


def _read_one(path: Path, zone: Any, given: np.datetime64 | None, names: dict[int, str]) -> xr.Dataset:
    modules = _modules(path.read_bytes(), path.name)
    if "VMP data" not in modules:
        raise ReadError(f"{path.name}: holds no 'VMP data'; the file may be truncated")
    columns = _columns(modules["VMP data"], path.name, names)
    attrs = _attributes(modules)
    start = _start(modules, path.name)
    time = None
    if "test_time" in columns:
        elapsed = _cycler.elapsed(columns["test_time"].values)
        if given is not None:
            time, attrs["clock"] = given + elapsed, local_clock.told(None, given)
        elif start is not None:
            time, attrs["clock"] = local_clock.to_utc(np.array([start]), zone)[0] + elapsed, local_clock.told(zone)
    return _cycler.dataset(columns, path.name, time=time, attrs=attrs)


def _modules(raw: bytes, name: str) -> dict[str, Module]:
    """Return the modules of a file by their short names; refuse one that is longer than what is left."""
    found: dict[str, Module] = {}
    place, view = FIRST_MODULE, memoryview(raw)
    while place < len(raw):
        head = raw[place : place + 65]
        if not head.startswith(b"MODULE"):
            raise ReadError(f"{name}: byte {place} starts no module; the file is damaged or has an unknown layout")
        # Since EC-Lab 11.50 the length follows four bytes of ones and takes eight bytes.
        is_long = head[41:45] == b"\xff" * 4
        if len(head) < (65 if is_long else 57):
            raise ReadError(f"{name}: the head of the module at byte {place} is cut; the file is truncated")
        length, version = struct.unpack_from("<QI", head, 45) if is_long else struct.unpack_from("<II", head, 41)
        short = head[6:16].decode("latin-1").strip()
        place += 65 if is_long else 57
        if length > len(raw) - place:
            told = f"the module {short!r} states {length} bytes, {len(raw) - place} are there"
            raise ReadError(f"{name}: {told}; the file is truncated")
        found.setdefault(short, Module(version, view[place : place + length]))
        place += length
    return found


def _columns(module: Module, name: str, names: dict[int, str]) -> dict[str, Column]:
    records, numbers = _records(module, name, names)
    labels, arrays = [], []
    for number in numbers:
        if number in FLAGS:
            label, shift, mask = FLAGS[number]
            arrays.append(((records["flags"] >> shift) & mask).astype(np.int16))
        else:
            label = names.get(number) or COLUMNS.get(number, (f"column {number}", ""))[0]
            values = records[str(number)]
            # Signed, so that differences of records do not wrap.
            arrays.append(values.astype(float if values.dtype.kind == "f" else np.int64))
        labels.append(label)
    by_label = dict(zip(labels, arrays, strict=True))
    for label, values in _derived(by_label).items():
        labels.append(label)
        arrays.append(values)
    return biologic.arranged(labels, lambda place: arrays[place])


def _records(module: Module, name: str, names: dict[int, str]) -> tuple[np.ndarray, list[int]]:
    """Return the records of the data module as a structured array, and the numbers of its columns."""
    content, first = module.content, 5 if module.version < 10 else 6
    if len(content) < first:
        raise ReadError(f"{name}: 'VMP data' holds {len(content)} bytes; the file is damaged")
    n_records, n_columns = struct.unpack_from("<IB" if first == 5 else "<IH", content)
    if n_records == 0 or n_columns == 0:
        raise ReadError(f"{name}: holds no record")
    if first + 2 * n_columns > len(content):
        raise ReadError(f"{name}: 'VMP data' names {n_columns} columns in {len(content)} bytes; the file is damaged")
    numbers = list(struct.unpack_from(f"<{n_columns}H", content, first))
    twice = {number for number in numbers if numbers.count(number) > 1}
    if twice:
        raise ReadError(f"{name}: names the column {min(twice)} twice; the file is damaged")
    offset = DATA_OFFSET.get(module.version)
    if offset is None:
        widths = _types(numbers, None, name, names)
        offset = len(content) - n_records * widths.itemsize
        if not first + 2 * n_columns <= offset <= LARGEST_OFFSET:
            raise ReadError(f"{name}: data module of version {module.version} is not known; export the file as .mpt")
        return np.frombuffer(content, widths, n_records, offset), numbers
    size, rest = divmod(len(content) - offset, n_records)
    if rest or size <= 0:
        told = f"{n_records} records do not fill the {len(content) - offset} bytes of 'VMP data' evenly"
        raise ReadError(f"{name}: {told}; the file is damaged")
    return np.frombuffer(content, _types(numbers, size, name, names), n_records, offset), numbers


def _types(numbers: list[int], size: int | None, name: str, names: dict[int, str]) -> np.dtype:
    """Return the type of one record of `size` bytes; columns of unknown width take what is left, if only one way."""
    unknown = [number for number in numbers if number not in FLAGS and number not in COLUMNS]
    known = sum(np.dtype(COLUMNS[number][1]).itemsize for number in numbers if number in COLUMNS)
    known += any(number in FLAGS for number in numbers)
    fills = [["<f4"] * len(unknown)]
    if size is not None and len(unknown) <= 16:
        fills = [list(fill) for fill in product(("<f4", "<f8"), repeat=len(unknown))]
        fills = [fill for fill in fills if sum(int(kind[2]) for kind in fill) == size - known]
    if len(fills) != 1:
        told = ", ".join(map(str, unknown)) or "none"
        raise ReadError(
            f"{name}: its columns do not add up to a record of {size} bytes (of unknown width: {told}); export the "
            "file as text (.mpt) and open that"
        )
    unnamed = [number for number in unknown if number not in names]
    if unnamed:
        warnings.warn(
            f"{name}: the meaning of the columns {', '.join(map(str, unnamed))} is not known; they are kept as "
            f"column_{unnamed[0]} …; compare with a text export and pass columns={{{unnamed[0]}: 'label/unit'}}",
            UserWarning,
            stacklevel=7,
        )
    kinds = {number: COLUMNS[number][1] for number in numbers if number in COLUMNS}
    kinds |= dict(zip(unknown, fills[0], strict=True))
    fields: list[tuple[str, str]] = []
    for number in numbers:
        if number not in FLAGS:
            fields.append((str(number), kinds[number]))
        elif ("flags", "u1") not in fields:
            fields.append(("flags", "u1"))
    return np.dtype(fields)


def _derived(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what the text export has and the binary file leaves to be computed: mean current and cycle."""
    found: dict[str, np.ndarray] = {}
    has_current = any(label in columns for label in ("I/mA", "<I>/mA"))
    if not has_current and {"time/s", "dq/mA.h"} <= columns.keys():
        lapse = np.diff(columns["time/s"])
        mean = np.full(len(lapse) + 1, np.nan)
        np.divide(3600 * columns["dq/mA.h"][1:], lapse, out=mean[1:], where=lapse > 0)
        mean[0] = 0.0 if columns["dq/mA.h"][0] == 0 else np.nan
        found["<I>/mA"] = mean
    if "half cycle" in columns and "cycle number" not in columns:
        found["cycle number"] = columns["half cycle"] // 2
    return found


def _start(modules: dict[str, Module], name: str) -> np.datetime64 | None:
    log = modules.get("VMP LOG")
    if log is None or len(log.content) < START_OFFSET + 8:
        warnings.warn(
            f"{name}: holds no whole 'VMP LOG', so its start is not known; the test may still be running, or the file "
            "is truncated; pass start=",
            UserWarning,
            stacklevel=4,
        )
        return None
    days = np.frombuffer(log.content, "<f8", 1, START_OFFSET)
    start = local_clock.from_serial(days)[0]
    return None if np.isnat(start) else start


def _attributes(modules: dict[str, Module]) -> dict[str, Any]:
    settings = modules.get("VMP Set")
    if settings is None or not settings.content:
        return {}
    number = settings.content[0]
    return {"technique": TECHNIQUES.get(number, f"EC-Lab technique {number}")}
