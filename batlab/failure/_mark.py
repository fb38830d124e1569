"""One mark: a place in the data, what it means, and who says so."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from getpass import getuser
from numbers import Integral, Real
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import DimensionError, choose
from batlab.schema import DIMENSIONS, LEADING, identity, quantity

CATEGORIES = ("electrical", "chemical", "electrochemical", "mechanical")
EDITABLE = ("frames", "axis_range", "category", "mechanism", "confidence", "text")
LONGEST_TEXT = 2_000_000  # characters of a remark
LONGEST_NAME = 10_000  # characters of anything else: a mark is a remark, not a file


@dataclass(frozen=True, repr=False)
class Mark:
    """One version of one mark.

    Attributes
    ----------
    id
        UUID, the same in every version.
    version
        1 for the mark as it was made, one more for each edit.
    author, created
        Who made this version, and when (UTC).
    dataset, source
        Identity of the measurement (``schema.identity``) and the file that it was read from.
    frames
        First and last frame, both included (of a cycler's record: first and last record).
    axis, axis_range, axis_units
        Range along the other axis, e.g. ``"q"``, ``(1.30, 1.36)``, ``"1/angstrom"``; ``None`` for the whole axis.
    category
        One of ``failure.CATEGORIES``.
    mechanism, confidence, text
        What is thought to have happened, how sure the author is (0 to 1), and why.
    is_retired
        Whether the mark has been withdrawn.
    """

    id: str
    version: int
    author: str
    created: datetime
    dataset: str
    source: str
    frames: tuple[int, int]
    axis: str | None
    axis_range: tuple[float, float] | None
    axis_units: str | None
    category: str
    mechanism: str
    confidence: float
    text: str = ""
    is_retired: bool = False

    def __repr__(self) -> str:
        told = f"{self.where}; {self.category}: {self.mechanism!r}, confidence {self.confidence:g}, by {self.author}"
        return f"Mark({told}, {self.when}, id {self.id[:8]} version {self.version}{', retired' * self.is_retired})"

    def _repr_html_(self) -> str:
        """Return the mark as a small table for notebooks; whatever a person wrote is escaped."""
        rows = {
            "where": self.where,
            "what": f"{self.mechanism} ({self.category})",
            "confidence": f"{self.confidence:g}",
            "why": self.text,
            "who": f"{self.author}, {self.when}",
            "mark": f"{self.id}, version {self.version}{', retired' * self.is_retired}",
        }
        style = "text-align:left;max-width:60em;white-space:pre-wrap;overflow-wrap:anywhere"
        cells = (f'<tr><th style="{style}">{name}</th><td style="{style}">{html.escape(value)}</td></tr>'
                 for name, value in rows.items() if value)  # fmt: skip
        return f"<table>{''.join(cells)}</table>"

    @property
    def where(self) -> str:
        """Frames and range as words: ``"frames 45 to 52, q 1.3 to 1.36 1/angstrom"``."""
        first, last = self.frames
        words = f"frame {first}" if first == last else f"frames {first} to {last}"
        if self.axis_range is None:
            return words
        return f"{words}, {self.axis} {self.axis_range[0]:.6g} to {self.axis_range[1]:.6g} {self.axis_units}"

    @property
    def when(self) -> str:
        """The time of this version to the second, UTC."""
        return f"{self.created.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def place(series: xr.Dataset | xr.DataArray | str, frames: Any, axis_range: Any) -> dict[str, Any]:
    """Return the fields that say where a mark lies, checked against `series` where that is a dataset."""
    if isinstance(series, str):
        known, found = plain_text("series", series, required=True), {"source": ""}
    else:
        known, found = identity(series), {"source": str(series.attrs.get("source", ""))}
    first, last = _frames(series, frames)
    axis, limits = _axis(series, axis_range)
    units = None if axis is None else DIMENSIONS[axis]
    return {"dataset": known, **found, "frames": (first, last), "axis": axis, "axis_range": limits, "axis_units": units}


def meaning(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that say what a mark means, checked."""
    choose("category", fields["category"], CATEGORIES)
    confidence = fields["confidence"]
    is_number = isinstance(confidence, Real) and not isinstance(confidence, bool)
    if not is_number or not 0 <= float(confidence) <= 1:
        raise ValueError(f"confidence must be a number from 0 to 1, got {confidence!r}")
    return {
        "category": fields["category"],
        "mechanism": plain_text("mechanism", fields["mechanism"], required=True),
        "confidence": float(confidence),
        "text": plain_text("text", fields["text"]),
    }


def changed(mark: Mark, changes: dict[str, Any]) -> Mark:
    """Return `mark` with `changes`, checked as a new one is."""
    held = None if mark.axis_range is None else (mark.axis, *mark.axis_range)
    wanted = changes.get("axis_range", held)
    if wanted is not None and len(wanted) == 2 and mark.axis:
        wanted = (mark.axis, *wanted)
    where = place(mark.dataset, changes.get("frames", mark.frames), wanted)
    told = meaning({name: changes.get(name, getattr(mark, name)) for name in EDITABLE[2:]})
    return replace(
        mark, **{**where, "source": mark.source}, **told, is_retired=changes.get("is_retired", mark.is_retired)
    )


def plain_text(name: str, value: Any, *, required: bool = False, longest: int | None = None) -> str:
    """Return `value` if every database and every page can hold it, else raise."""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text, got {type(value).__name__}")
    if required and not value.strip():
        raise ValueError(f"{name} must not be empty")
    longest = longest or (LONGEST_NAME if required else LONGEST_TEXT)
    if len(value) > longest:
        raise ValueError(f"{name} has {len(value)} characters, at most {longest} are kept; shorten it")
    if "\0" in value:
        raise ValueError(f"{name} holds a NUL character at {value.index(chr(0))}; remove it")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} holds half a character at {error.start}; remove it") from error
    return value


def author_name(author: str | None) -> str:
    """Return `author`, or the name under which this person is logged in."""
    if author is None:
        author = hub_user() or _login()
    return plain_text("author", author, required=True)


def hub_user() -> str:
    """Return the name under which JupyterHub knows this person, "" outside a hub."""
    return os.environ.get("JUPYTERHUB_USER", "")


def _login() -> str:
    try:
        return getuser()
    except (OSError, KeyError) as error:  # a container may run under a user without a name
        raise ValueError("this computer does not know your name; pass author='...'") from error


def _frames(series: Any, frames: Any) -> tuple[int, int]:
    whole = isinstance(frames, Sequence | np.ndarray) and len(frames) == 2 and not isinstance(frames, str)
    if not whole or not all(isinstance(frame, Integral) and not isinstance(frame, bool) for frame in frames):
        raise ValueError(f"frames must be two whole numbers, the first and the last frame, got {frames!r}")
    first, last = (int(frame) for frame in frames)
    if not 0 <= first <= last < 2**63:
        raise ValueError(f"frames must run from a first to a last frame, both at least 0, got ({first}, {last})")
    if not isinstance(series, str):
        leading = next((dim for dim in LEADING if dim in series.dims), None)
        if leading is None:
            got = tuple(map(str, series.dims))
            raise DimensionError(f"failure.Store.add needs dimension 'frame', or 'record' of a cycler, got {got}")
        known = series[leading].values
        low, high = (int(known.min()), int(known.max())) if known.size else (0, -1)
        if first < low or last > high:
            raise ValueError(f"frames ({first}, {last}) reach outside the series, which has {leading}s {low} to {high}")
    return first, last


def _axis(series: Any, axis_range: Any) -> tuple[str | None, tuple[float, float] | None]:
    if axis_range is None:
        return None, None
    try:
        *named, low, high = axis_range
        low, high = float(low), float(high)
    except (TypeError, ValueError) as error:
        raise ValueError(f"axis_range must be (low, high) or (axis, low, high), got {axis_range!r}") from error
    if len(named) > 1 or not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"axis_range must be (low, high) with low below high, or (axis, low, high), got {axis_range}")
    axes = (
        DIMENSIONS if isinstance(series, str) else [d for d in series.dims if d not in LEADING and d in series.coords]
    )
    if named:
        choose("the axis of axis_range", named[0], axes)
    elif isinstance(series, str):
        raise ValueError("axis_range of a series given by its identity must name the axis: (axis, low, high)")
    elif len(list(axes)) != 1:
        raise ValueError(f"the series has the axes {list(axes)}; say which: axis_range=(axis, low, high)")
    axis = str(named[0] if named else next(iter(axes)))
    if not isinstance(series, str):
        known = series[axis].values
        if known.size == 0 or high < known.min() or low > known.max():
            raise ValueError(
                f"axis_range ({low:g}, {high:g}) lies outside {axis!r}, {known.min():g} to {known.max():g}"
            )
    return axis, (low, high)


def as_dataset(marks: Sequence[Mark], dose: str) -> xr.Dataset:
    """Return the marks over ``event``: one variable a field, and ``<axis>_low``, ``<axis>_high`` for each axis used.

    `dose` is what is stated of the X-ray dose of their data.
    """

    def words(name: str, long_name: str) -> xr.Variable:
        return quantity("event", np.array([getattr(mark, name) for mark in marks], dtype=str), "1", long_name)

    def numbers(values: Sequence[Any], long_name: str, dtype: type, units: str = "1") -> xr.Variable:
        return quantity("event", np.array(values, dtype=dtype), units, long_name)

    created = np.array([mark.created.replace(tzinfo=None) for mark in marks], dtype="datetime64[ns]")
    variables = {
        "mark_id": words("id", "identity of the mark"),
        "version": numbers([mark.version for mark in marks], "version of the mark", np.int64),
        "author": words("author", "author"),
        "created": quantity("event", created, "", "time of this version, UTC"),
        "dataset": words("dataset", "identity of the measurement"),
        "source": words("source", "file of the measurement"),
        "first_frame": numbers([mark.frames[0] for mark in marks], "first frame", np.int64),
        "last_frame": numbers([mark.frames[1] for mark in marks], "last frame", np.int64),
        "category": words("category", "category of the failure"),
        "mechanism": words("mechanism", "mechanism"),
        "confidence": numbers([mark.confidence for mark in marks], "confidence of the author, 0 to 1", float),
        "text": words("text", "remark"),
        "is_retired": numbers([mark.is_retired for mark in marks], "1 where the mark is withdrawn", np.int8),
    }
    stated = np.array([dose] * len(marks), dtype=str)
    variables["dose_statement"] = quantity("event", stated, "1", "X-ray dose of the data")
    for axis in sorted({mark.axis for mark in marks if mark.axis}):
        for end, word in enumerate(("low", "high")):
            held = [m.axis_range[end] if m.axis_range and m.axis == axis else math.nan for m in marks]
            variables[f"{axis}_{word}"] = numbers(
                held, f"{word} end of the range along {axis}", float, DIMENSIONS[axis]
            )
    event = quantity("event", np.arange(len(marks)), "1", "mark")
    return xr.Dataset(variables, {"event": event}, {"dose_statement": dose})
