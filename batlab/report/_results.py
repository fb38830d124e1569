"""One section a result."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import xarray as xr

from batlab import figures
from batlab.align.dose_ledger import statement_of
from batlab.figures.cycling import thinned
from batlab.figures.style import axis_label, unit_sign
from batlab.figures.track import rescaled
from batlab.report._numbers import (
    NOTHING,
    between,
    cell_text,
    column_text,
    duration,
    header,
    measure,
    moment,
    with_sigma,
)
from batlab.report._sections import Section, Table, frame_number, known, one_number_a_frame, rows_to_show

WIDTH = 720  # pixels inside the axes: fits a portrait page and a 1280-pixel screen
MOST_TRACKS = 4
MOST_POINTS = 3000  # of a track; more than four a pixel cannot be seen


def patterns(table: xr.Dataset) -> Section:
    """Return map, first and last pattern of a series."""
    axis = str(table["intensity"].dims[1])
    n_frames, n_points = table["intensity"].shape
    span = f"{_symbol(axis)} {_span(table, axis)}"
    said = f"{n_frames} pattern{'s' * (n_frames != 1)} of {n_points} points, {span}"
    section = Section("Patterns", f"{said}.{_when(table)}", summary=f"{n_frames} patterns, {span}")
    if n_frames > 1 and n_points > 1:
        plot = figures.heat_map(table, scale="sqrt", size=(WIDTH, 380))
        section.figures.append(("All patterns, square root of the intensity as colour", plot))
    if n_frames and n_points > 1:
        first, last = (int(table["frame"].values[position]) for position in (0, -1))
        plot = figures.pattern(table, last, reference=first if n_frames > 1 else None, size=(WIDTH, 220))
        section.figures.append(
            (f"Frame {last}" + (f", and frame {first} for comparison" if n_frames > 1 else ""), plot)
        )
    if "voltage" in table and table["voltage"].dims == ("frame",) and known(table["voltage"]).size:
        section.figures.append(
            ("The cell during the series", figures.cycling(table, against="frame", size=(WIDTH, 160)))
        )
    return section


def frames(table: xr.Dataset) -> Section:
    """Return what is known of detector frames; the frames themselves stay where they are."""
    n_frames, rows, columns = (table.sizes[dim] for dim in ("frame", "y", "x"))
    lead = f"{n_frames} frames of {rows} × {columns} pixels.{_when(table)}"
    return Section("Detector frames", lead, summary=f"{n_frames} detector frames")


def cells(table: xr.Dataset) -> Section:
    """Return tracks and extremes of a phase's cell."""
    phase = str(table.attrs.get("phase", ""))
    section = track(table)
    section.title = f"Unit cell of {phase}" if phase else "Unit cell"
    edges = figures.distinct(table, [name for name in ("a", "b", "c") if name in table])
    told = [text for name in edges if (text := _range(table, name))]
    section.summary = f"{phase + ': ' if phase else ''}{'; '.join(told)}" if told else ""
    return section


def track(table: xr.Dataset) -> Section:
    """Return figures and tables of quantities that are one number a frame."""
    names = figures.distinct(table, list(one_number_a_frame(table)))
    certain = [name for name in names if f"{name}_sigma" in table] or names
    drawn = [name for name in certain if _changes(table[name])][:MOST_TRACKS]
    plots = []
    for name in drawn:
        part, thinner = _thinned(table, name)
        plots.append((_caption(table, name) + thinner, figures.track(part, name, size=(WIDTH, 180))))
    for _, plot in plots[1:]:
        plot.x_range = plots[0][1].x_range
    section = Section("Tracked quantities", f"{table.sizes['frame']} frames.{_when(table)}", plots)
    columns = ["quantity", "first", "smallest", "at frame", "largest", "at frame", "last", "median σ"]
    rows = [row for name in names if (row := _extremes(table, name))]
    section.tables.append(Table("Extremes; in brackets 1 σ of the last digits", columns, rows))
    shown, note = rows_to_show(table.sizes["frame"])
    times = ["time"] if "time" in table.coords and table["time"].dims == ("frame",) else []
    numbers = table[[*times, *names, *(f"{n}_sigma" for n in names if f"{n}_sigma" in table)]].isel(frame=shown)
    columns_of_text = (column_text(numbers, n) for n in [*times, *names])
    body = list(zip((frame_number(table, at) for at in shown), *columns_of_text, strict=True))
    section.tables.append(
        Table(f"Every frame{note}", ["frame", *times, *(header(table[n]) for n in names)], body, is_folded=True)
    )
    return section


def events(table: xr.Dataset) -> Section:
    """Return the events with their confidence limits."""
    n_events = table.sizes["event"]
    found = f"{n_events} event{'s' * (n_events != 1)} found"
    section = Section("Events", f"X-ray dose of the data: {statement_of(table)}.", summary=found)
    if n_events and "onset" in table:
        plot = figures.events(table, size=(WIDTH, 40 + 28 * min(n_events, 12)))
        section.figures.append(("Onset and confidence limits", plot))
    own = [
        str(n)
        for n in table.data_vars
        if table[n].dims == ("event",) and not str(n).endswith(("_sigma", "_low", "_high"))
    ]
    names = sorted(own, key=lambda name: table[name].dtype.kind in "iufb")  # words first
    columns = [_with_limits(table, name) for name in names]
    rows = list(zip(*columns, strict=True)) if n_events else []
    section.tables.append(
        Table("All events; in brackets the confidence limits", [header(table[n]) for n in names], rows)
    )
    return section


def _with_limits(table: xr.Dataset, name: str) -> list[str]:
    if f"{name}_low" not in table or f"{name}_high" not in table:
        return [text.replace("_", " ") for text in column_text(table, name)]
    ends = (np.asarray(table[f"{name}{end}"].values, dtype=float) for end in ("", "_low", "_high"))
    return [between(*numbers) for numbers in zip(*ends, strict=True)]


def record(table: xr.Dataset) -> Section:
    """Return the cycler's record."""
    parts = [f"{table.sizes['record']} lines"]
    if "test_time" in table.coords or "test_time" in table:
        parts.append(f"over {duration(float(np.ptp(table['test_time'].values)))}" if table.sizes["record"] else "")
    section = Section("Electrochemistry", f"{' '.join(filter(None, parts))}.{_when(table)}")
    names = [name for name in ("voltage", "current", "capacity") if name in table and known(table[name]).size]
    table = table.assign({name: rescaled(table[name]) for name in names})
    rows = [[header(table[name]), *(cell_text(table, name, record=at) for at in _ends(table[name]))] for name in names]
    section.tables.append(Table("Range", ["quantity", "first", "smallest", "largest", "last"], rows))
    if names:
        text = ", ".join(f"{name} {_span(table, name)}" for name in names[:1])
        section.summary = f"Cycling record with {text}"
    if "voltage" in names:
        section.figures.append(("Voltage and current", figures.cycling(table, size=(WIDTH, 200))))
    return section


def peaks(table: xr.Dataset) -> Section:
    """Return the peak table, and the positions of the strongest peaks."""
    n_peaks = table.sizes["peak"]
    section = Section(
        "Peaks", f"{n_peaks} peaks followed over {table.sizes['frame']} frames.", summary=f"{n_peaks} peaks followed"
    )
    fitted = [known(table["position"].isel(peak=at)) for at in range(n_peaks)]
    rows = [_peak_row(table, at, where) for at, where in enumerate(fitted)]
    unit = unit_sign(str(table["position"].attrs.get("units", "1")))
    columns = [
        "peak",
        "phase",
        "hkl",
        "frames fitted",
        f"first position ({unit})",
        f"last position ({unit})",
        "median width",
        "median χ²",
    ]
    section.tables.append(Table("Peaks; in brackets 1 σ of the last digits", columns, rows))
    strength = [
        float(np.nanmedian(table["area"].isel(peak=at))) if where.size else -math.inf for at, where in enumerate(fitted)
    ]
    for at in np.argsort(strength)[::-1][:MOST_TRACKS]:
        if fitted[at].size > 1:
            plot = figures.track(table, "position", peak=int(table["peak"].values[at]), size=(WIDTH, 130))
            section.figures.append((f"Position of peak {' '.join(rows[at][:3])}", plot))
    return section


def structure(table: xr.Dataset) -> Section:
    """Return a structure's cell and sites."""
    name = str(table.attrs.get("phase", "structure"))
    cell = ", ".join(f"{n} = {measure(table, n)}" for n in ("a", "b", "c", "alpha", "beta", "gamma") if n in table)
    section = Section(f"Structure {name}", f"Space group {table.attrs.get('space_group', NOTHING)}; {cell}.")
    names = [str(n) for n in table.data_vars if table[n].dims == ("site",)]
    rows = list(zip(*(column_text(table, n) for n in names), strict=True))
    section.tables.append(Table("Sites", [header(table[n]) for n in names], rows, is_folded=True))
    return section


def other(table: xr.Dataset) -> Section:
    """Return the ranges of what has no section of its own."""
    rows = []
    for name, values in table.data_vars.items():
        where = known(values.stack(all=values.dims)) if values.dims and values.dtype.kind in "iuf" else np.array([])
        ends = [with_sigma(float(values.min())), with_sigma(float(values.max()))] if where.size else [NOTHING, NOTHING]
        rows.append([str(name), header(values), " × ".join(map(str, values.dims)) or NOTHING, *ends])
    columns = ["variable", "quantity", "dimensions", "smallest", "largest"]
    return Section("Other results", tables=[Table("Variables", columns, rows)])


SECTIONS: dict[str, Callable[[xr.Dataset], Section]] = {
    "patterns": patterns,
    "frames": frames,
    "cells": cells,
    "track": track,
    "events": events,
    "record": record,
    "peaks": peaks,
    "structure": structure,
    "other": other,
}


def _symbol(axis: str) -> str:
    return {"two_theta": "2θ"}.get(axis, axis)


def _span(table: xr.Dataset, name: str) -> str:
    values = np.asarray(table[name].values, dtype=float)
    if not np.isfinite(values).any():
        return NOTHING
    unit = unit_sign(str(table[name].attrs.get("units", "1")))
    low, high = f"{np.nanmin(values):.5g}", f"{np.nanmax(values):.5g}"
    return f"{low}° to {high}°" if unit == "°" else f"{low} to {high} {unit}".rstrip()


def _when(table: xr.Dataset) -> str:
    if "time" not in table.variables or table["time"].ndim != 1:
        return ""
    told = table["time"].values[~np.isnat(table["time"].values)]
    return f" From {moment(told[0])} to {moment(told[-1])}." if told.size else ""


def _ends(values: xr.DataArray) -> list[int]:
    """Return where a series is first known, smallest, largest and last known."""
    where = known(values)
    numbers = np.asarray(values.values, dtype=float)[where]
    return [int(where[at]) for at in (0, int(numbers.argmin()), int(numbers.argmax()), -1)]


def _range(table: xr.Dataset, name: str) -> str:
    if not known(table[name]).size:
        return ""
    _, low, high, _ = _ends(table[name])
    ends = [f"{measure(table, name, frame=at)} (frame {frame_number(table, at)})" for at in (low, high)]
    return f"{axis_label(table[name]).split(' (')[0]} from {ends[0]} to {ends[1]}"


def _extremes(table: xr.Dataset, name: str) -> list[str]:
    if not known(table[name]).size:
        return [header(table[name]), *[NOTHING] * 7]
    if not _changes(table[name]):
        return [header(table[name]), cell_text(table, name, frame=_ends(table[name])[0]), "constant", *[""] * 5]
    first, low, high, last = _ends(table[name])
    sigma = table.get(f"{name}_sigma")
    middle = with_sigma(float(f"{float(sigma.median()):.2g}")) if sigma is not None else NOTHING
    texts = {at: cell_text(table, name, frame=at) for at in (first, low, high, last)}
    where = {at: frame_number(table, at) for at in (low, high)}
    return [header(table[name]), texts[first], texts[low], where[low], texts[high], where[high], texts[last], middle]


def _caption(table: xr.Dataset, name: str) -> str:
    words = str(table[name].attrs.get("long_name") or name)
    return words + ("; bars show 1 σ" if f"{name}_sigma" in table else "")


def _thinned(table: xr.Dataset, name: str) -> tuple[xr.Dataset, str]:
    """Return the frames that a figure shows, and what to say of those left out: a screen has no room for them."""
    n = table.sizes["frame"]
    if n <= MOST_POINTS:
        return table, ""
    keep = thinned(table[name].values, MOST_POINTS // 2)
    keep = np.union1d(keep, [0, n - 1])  # so that the axis reaches from the first frame to the last
    return table.isel(frame=keep), f"; {len(keep)} of {n} frames, with the extremes of every stretch"


def _changes(values: xr.DataArray) -> bool:
    """Return whether there is something to draw: the angles of a cubic cell never change."""
    return float(values.max()) > float(values.min())


def _peak_row(table: xr.Dataset, at: int, where: np.ndarray) -> list[str]:
    peak = table.isel(peak=at)
    label = [str(peak[name].values) if name in peak.coords else "" for name in ("peak", "phase", "hkl")]
    if not where.size:
        return [*label, f"0 of {table.sizes['frame']}", *[NOTHING] * 4]
    ends = [cell_text(peak, "position", frame=int(where[end])) for end in (0, -1)]
    medians = [f"{float(peak[name].median()):.3g}" if name in peak else NOTHING for name in ("fwhm", "chi2_reduced")]
    return [*label, f"{where.size} of {table.sizes['frame']}", *ends, *medians]
