"""Tables of dispersive XAFS: absorption over the pixels of a line detector, one spectrum a file or many in a table.

Photon Factory writes a table whose first line numbers the spectra; ESRF ID24 a file a spectrum. Pixels become photon
energies with a calibration: `batlab.xas.calibrate_pixels`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import ReadError, choose
from batlab.io import _cycler
from batlab.io._text import peek
from batlab.io.spectra_labels import moment
from batlab.io.spectra_scan import HEADER_LIMIT, head_text, read_block
from batlab.io.spectra_series import say_clock, utc_of
from batlab.schema import quantity

NAME = "dispersive spectra over pixels"
HINTS = frozenset({"timezone", "start", "time_unit", "encoding"})
TIME_UNITS = {"ms": 1e-3, "s": 1.0, "min": 60.0}

_NUMBERED = re.compile(r"\s*,\s*\d+(?:\.\d+)?\s*(?:,\s*\d+(?:\.\d+)?\s*)*(?:\n|$)")
_FIRST_PIXEL = re.compile(r"\s*\d+\s*,\s*[-+]?\d*\.?\d+")
_ID24 = re.compile(r":.*\bfrom pixel (\d+) to (\d+)\b")


@dataclass(frozen=True)
class Spectra:
    """One file: absorption (spectrum, pixel), pixel numbers, the numbers at the heads of its columns, start, header."""

    name: str
    values: np.ndarray
    pixel: np.ndarray
    heads: np.ndarray | None
    start: str
    attrs: dict[str, Any]
    header: str


def recognise(path: Path, head: bytes) -> bool:
    """Return whether the file is a table of Photon Factory or a spectrum of ESRF ID24. Never raises."""
    text = peek(head_text(head))
    if _ID24.match(text.split("\n", 1)[0]):
        return True
    if not re.match(r"\s*,\s*\d", text):
        return False
    first, _, rest = text.partition("\n")
    # A wide table's first line may be longer than what was looked at.
    return bool(_NUMBERED.fullmatch(first) and _FIRST_PIXEL.match(rest)) or bool(
        not rest and len(text) > 1000 and re.fullmatch(r"[\s\d.,]+", first)
    )


def read(paths: list[Path], **hints: Any) -> xr.Dataset:
    """Return the absorption over ``pixel``, or over (frame, pixel) where there are several spectra.

    Parameters
    ----------
    paths
        Tables or single spectra with the same pixels.
    **hints
        ``time_unit`` "ms", "s" or "min" and ``start`` (UTC): make ``time`` of the numbers that head a table's columns,
        whose unit the file does not state; ``timezone`` of ID24's clock; ``encoding``.

    Returns
    -------
    Dataset
        ``mu`` [1]; ``heading`` (frame), the number above a column; ``time`` where it is known; ``file``. Attributes
        ``sample``, ``header``.

    Raises
    ------
    ReadError
        Naming the file: other pixels than the first file, pixels that do not count up, fewer than the header states.
    """
    choose("time_unit", hints.get("time_unit"), [None, *TIME_UNITS])
    if (hints.get("start") is None) != (hints.get("time_unit") is None):
        raise ValueError("start= (UTC) and time_unit= make the time together; pass both or neither")
    files = [_read_one(path, hints) for path in paths]
    first = files[0]
    for other in files[1:]:
        if not np.array_equal(other.pixel, first.pixel):
            raise ReadError(
                f"{other.name}: has {len(other.pixel)} pixels, {first.name} has {len(first.pixel)}; open them apart"
            )
    return _dataset(files, hints)


def _read_one(path: Path, hints: dict[str, Any]) -> Spectra:
    header, block = read_block(path, {**hints, "decimal": "."})
    pixel, values = block.values[:, 0], block.values[:, 1:].T
    if not len(values) or (np.diff(pixel) != 1).any() or not np.isfinite(pixel).all():
        raise ReadError(f"{path.name}: line {block.line}: the first column must count the pixels, one a line")
    if np.isinf(values).any():
        raise ReadError(f"{path.name}: pixel {int(pixel[np.isinf(values).any(axis=0)][0])} holds infinity")
    stated = _ID24.match(header.split("\n", 1)[0])
    if stated:
        return _id24(path, header, pixel, values, (int(stated[1]), int(stated[2])))
    words = [word for word in header.strip().strip(",").split(",") if word.strip()]
    try:
        heads = np.array([float(word) for word in words])
    except ValueError as error:
        raise ReadError(f"{path.name}: its first line must number the spectra: {error}") from error
    if len(heads) != len(values):
        raise ReadError(
            f"{path.name}: its first line numbers {len(heads)} spectra, the table has {len(values)}; truncated?"
        )
    return Spectra(path.name, values, pixel.astype(int), heads, "", {}, "")


def _id24(path: Path, header: str, pixel: np.ndarray, values: np.ndarray, stated: tuple[int, int]) -> Spectra:
    if (int(pixel[0]), int(pixel[-1])) != stated:
        raise ReadError(
            f"{path.name}: states pixels {stated[0]} to {stated[1]}, holds {pixel[0]:g} to {pixel[-1]:g}; it may be "
            "truncated"
        )
    attrs: dict[str, Any] = {}
    sample = re.search(r"^:file_descriptor :[ \t]*(\S.*)$", header, re.MULTILINE)
    if sample:
        attrs["sample"] = sample[1].strip()[:200]
    start = next((moment(line) for line in header.split("\n") if moment(line)), "")
    return Spectra(path.name, values[:1], pixel.astype(int), None, start, attrs, header)


def _dataset(files: list[Spectra], hints: dict[str, Any]) -> xr.Dataset:
    times = [utc_of(one.start, hints.get("timezone")) for one in files]
    if all(time is not None for time in times):
        order = np.argsort(np.array(times), kind="stable")
        files, times = [files[i] for i in order], [times[i] for i in order]
    first, values = files[0], np.concatenate([one.values for one in files])
    lead = ("frame",) if len(values) > 1 else ()
    coords = {"pixel": quantity("pixel", first.pixel, "1", "pixel of the line detector")}
    variables = {"mu": quantity((*lead, "pixel"), values if lead else values[0], "1", "absorption")}
    if lead:
        coords["frame"] = quantity("frame", np.arange(len(values)), "1", "frame")
        names = np.array([one.name for one in files for _ in one.values])
        coords["file"] = quantity("frame", names, "1", "file")
    known: list[np.datetime64] = []
    if all(one.heads is not None for one in files):
        heads = np.concatenate([one.heads for one in files if one.heads is not None])
        told = "number at the head of the column; the file states no unit"
        variables["heading"] = quantity(lead, heads if lead else heads[0], "1", told)
        if hints.get("time_unit"):
            steps = np.round(heads * TIME_UNITS[hints["time_unit"]] * 1e9).astype("timedelta64[ns]")
            known = list(_cycler.utc(hints["start"]).astype("datetime64[ns]") + steps)
    elif all(time is not None for time in times):
        known = [time for time in times if time is not None]
    if known:
        stamps = np.array(known, "datetime64[ns]")
        coords["time"] = quantity(lead, stamps if lead else stamps[0], "", "time, UTC")
    attrs = dict(first.attrs)
    samples = list(dict.fromkeys(str(one.attrs.get("sample", "")) for one in files))
    if len(samples) > 1:
        attrs["sample"] = [str(one.attrs.get("sample", "")) for one in files]
    result = xr.Dataset(variables, coords, {**attrs, "header": first.header[:HEADER_LIMIT]})
    return say_clock(result, [one.start for one in files], hints.get("timezone"), first.name)
