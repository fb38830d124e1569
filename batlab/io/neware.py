"""Neware's binary records: ``.nda``, ``.ndax``, and an ``.nda`` inside a zip; decoded by fastnda (extra ``cycler``).

What an archive would unpack to is bounded before fastnda sees it.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import MissingExtraError, ReadError, choose
from batlab.io import _cycler, _dates, cycler_series, zipped
from batlab.io._cycler import Column

NAME = "Neware records (.nda, .ndax)"
HINTS = frozenset({"start", "cycles"})

MAGIC = b"NEWARE"
MAX_RECORD = 2**30  # bytes of an .nda inside a zip
CYCLES = {"charge": "chg", "discharge": "dchg", "first": "auto", "file": "raw"}
# Column of fastnda -> variable, unit, what it is.
MEANINGS: dict[str, tuple[str, str, str]] = {
    "total_time_s": ("test_time", "s", "time since the start of the test"),
    "voltage_V": ("voltage", "V", "voltage"),
    "current_mA": ("current", "mA", "current, positive on charge"),
    "capacity_mAh": ("capacity", "mAh", "charge counter of the cycler, from zero in each step, negative on discharge"),
    "energy_mWh": ("step_energy", "mWh", "energy counter of the cycler, from zero in each step"),
    "cycle_count": ("cycle", "1", "number of the cycle"),
    "step_count": ("step", "1", "number of the step, counted on"),
    "step_index": ("step_index", "1", "number of the step in the programme"),
    "step_time_s": ("step_time", "s", "time since the start of the step"),
    "index": ("record_number", "1", "number of the record in the file"),
}
_UNITS = {"temperature_degC": "degC", "voltage_V": "V", "current_mA": "mA"}  # of auxiliary channels


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the file is Neware's, or a zip of one. Never raises."""
    if head.startswith(MAGIC):
        return True
    names = zipped.names_at_head(path, head)
    return any(name.rpartition("/")[2] in ("data.ndc", "VersionInfo.xml") or name.endswith(".nda") for name in names)


def read(paths: list[Path], **hints: Any) -> xr.Dataset:
    """Return the record of one file, or of several files of one cell joined in order of their clocks.

    Parameters
    ----------
    paths
        ``.nda`` and ``.ndax`` files, or zip archives of one ``.nda``.
    **hints
        ``start``: UTC time of test time 0; ``cycles``: where a cycle begins: "charge" (a charge that follows a
        discharge; Neware's usual way), "discharge", "first" (as the first step that is no rest), or "file" (the numbers
        in the file, where it has them).

    Returns
    -------
    Dataset
        Over ``record``: ``voltage`` [V], ``current`` [A, positive charges], ``capacity`` [Ah] and ``step_energy`` [Wh],
        which start from zero in each step, ``cycle``, ``step``, ``step_index``, ``step_time`` [s], ``state``,
        auxiliary channels; coordinates ``test_time`` [s] and ``time``, as the file's own count of seconds since 1970.
        Of several files see `batlab.io.cycler_series.join`.

    Raises
    ------
    MissingExtraError
        fastnda is not installed.
    ReadError
        The file is cut, of no known version, or would unpack to too much.

    Warns
    -----
    UserWarning
        fastnda doubts the file; counter and integrated current disagree.
    """
    if hints.get("cycles") is not None:
        choose("cycles", hints["cycles"], list(CYCLES))
    records = [_read_one(path, hints) for path in paths]
    return cycler_series.join(records, [path.name for path in paths])


def _read_one(path: Path, hints: dict[str, Any]) -> xr.Dataset:
    with _plain(path) as plain:
        table = _table(plain, path.name, CYCLES[hints.get("cycles") or "charge"])
    columns: dict[str, Column] = {}
    for label in table.columns:
        if label == "unix_time_s":
            continue
        values = table[label].to_numpy()
        if label == "step_type":
            columns["state"] = Column(np.array(table[label].cast(str).to_list(), dtype=str), "1", "what the cycler did")
            continue
        values = values.astype(float if values.dtype.kind == "f" else np.int64)
        if label in MEANINGS:
            name, unit, told = MEANINGS[label]
            columns[name] = _cycler.column(values, unit, told, column=label)
        else:
            unit = next((unit for ending, unit in _UNITS.items() if label.endswith(ending)), "")
            own = label.removesuffix(f"_{unit}") if unit else label
            one = _cycler.column(values, unit, own, column=label) if unit else Column(values, "unknown", own)
            columns[_cycler.free_name(own, one.units, columns)] = one
    attrs, time = {}, None
    test_time = columns["test_time"].values if "test_time" in columns else np.zeros(0)
    if hints.get("start") is not None:
        time, attrs["clock"] = _cycler.utc(hints["start"]) + _cycler.elapsed(test_time), "start given by the user"
    elif "unix_time_s" in table.columns and len(test_time):
        time = _dates.timeline(table["unix_time_s"].to_numpy().astype(float), test_time, path.name)
        attrs["clock"] = "seconds since 1970 in the file"
    return _cycler.dataset(columns, path.name, time=time, attrs=attrs)


@contextmanager
def _plain(path: Path) -> Iterator[Path]:
    """Give a file that fastnda takes: its ending tells it the format."""
    with path.open("rb") as file:
        is_record = file.read(len(MAGIC)) == MAGIC
    if is_record and path.suffix.lower() == ".nda":
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        if is_record:
            link = Path(folder, "record.nda")
            link.symlink_to(path.resolve())
            yield link
            return
        with zipped.unpacking(path) as archive:
            inside = [name for name in archive.namelist() if name.lower().endswith(".nda")]
            if len(inside) > 1:
                raise ReadError(f"{path.name}: holds {len(inside)} records; unpack it and open them one by one")
            if inside:
                link = Path(folder, "record.nda")
                link.write_bytes(zipped.content(archive, inside[0], MAX_RECORD))
            else:
                if archive.testzip() is not None:
                    raise ReadError(f"{path.name}: {archive.testzip()!r} is damaged; the file may be truncated")
                link = Path(folder, "record.ndax")
                link.symlink_to(path.resolve())
        yield link


def _fastnda(name: str) -> Any:
    """Return the package; it exchanges functions of zlib for all the process when imported, which is undone."""
    kept = {function: getattr(zlib, function) for function in ("decompress", "decompressobj")}
    try:
        import fastnda
        import fastnda.ndax
    except ImportError as error:
        raise MissingExtraError(
            f"{name}: Neware's binary records need the package fastnda; install batlab's extra: "
            "pip install 'batlab[cycler]'"
        ) from error
    finally:
        for function, own in kept.items():
            setattr(zlib, function, own)
    return fastnda


def _table(path: Path, name: str, mode: str) -> Any:
    fastnda = _fastnda(name)
    heard = _Heard()
    logger = logging.getLogger("fastnda")
    logger.addHandler(heard)
    try:
        with warnings.catch_warnings(record=True) as doubts:
            warnings.simplefilter("always")
            table = fastnda.read(path, cycle_mode=mode)
    except Exception as error:  # fastnda meets damage with whatever its decoding runs into
        raise ReadError(
            f"{name}: cannot be decoded ({type(error).__name__}: {error}); the file may be damaged"
        ) from error
    finally:
        logger.removeHandler(heard)
    for told in dict.fromkeys([*heard.messages, *(str(doubt.message) for doubt in doubts)]):
        warnings.warn(f"{name}: {told}", UserWarning, stacklevel=6)
    if not len(table):
        raise ReadError(f"{name}: holds no record")
    return table


class _Heard(logging.Handler):
    """Keeps what fastnda logs as a warning or worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.messages.append(record.getMessage())
