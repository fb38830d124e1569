"""What people marked, and where the numbers come from."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import xarray as xr

from batlab import figures
from batlab.align.dose_ledger import NOT_ASSESSED, statement_of
from batlab.failure import Mark, Store
from batlab.figures.style import unit_sign
from batlab.report._numbers import NOTHING, moment
from batlab.report._sections import Section, Table
from batlab.schema import identity, version

LIBRARIES = (
    *("numpy", "scipy", "xarray", "dask", "h5py", "hdf5plugin", "h5netcdf", "zarr", "pyFAI", "fabio", "gemmi"),
    *("xraydb", "pybaselines", "SQLAlchemy", "bokeh"),
)


def wanted(store: Store | None, marks: Sequence[Mark] | None) -> list[tuple[Mark, list[Mark]]]:
    """Return the marks to show, each with its earlier versions."""
    if store is not None and marks is not None:
        raise ValueError("report.write takes store= or marks=, not both")
    if store is not None:
        return [(mark, store.history(mark.id)[:-1]) for mark in store.marks()]
    found = list(marks or ())
    if not all(isinstance(mark, Mark) for mark in found):
        raise TypeError("marks must be a list of failure.Mark, as failure.Store.marks returns")
    return [(mark, []) for mark in found]


def marks_section(found: list[tuple[Mark, list[Mark]]], results: Sequence[xr.Dataset]) -> Section:
    """Return what people marked, the latest version of each mark, earlier ones folded."""
    shown = {identity(table): statement_of(table) for table in results}
    columns = ["no.", "frames", "range", "category", "mechanism", "confidence", "remark", "author", "time", "data"]
    columns.append("X-ray dose")
    rows = [_row(number, mark, shown) for number, (mark, _) in enumerate(found, 1)]
    section = Section("Marks", tables=[Table("What people saw", columns, rows)], is_wide=True)
    earlier = [_row(n, version, shown) for n, (_, versions) in enumerate(found, 1) for version in versions]
    if earlier:
        section.tables.append(Table("Earlier versions of these marks", columns, earlier, is_folded=True))
    authors = sorted({mark.author for mark, _ in found})
    section.summary = f"{len(found)} mark{'s' * (len(found) != 1)} by {', '.join(authors)}"
    return section


def draw_marks(found: Sequence[tuple[Mark, list[Mark]]], shown: Sequence[tuple[Section, xr.Dataset]]) -> None:
    """Draw the marks as boxes on the map of the series that they were made on."""
    for section, table in shown:
        here = {str(n): mark for n, (mark, _) in enumerate(found, 1) if mark.dataset == identity(table)}
        for _, plot in section.figures:
            if here and plot.select_one({"name": "map_image"}) is not None:
                figures.add_marks(plot, table, here.values())
                # Maps count their own marks; a report counts all, as its table and its timeline do.
                plot.select_one({"name": "mark_boxes"}).data_source.data["number"] = list(here)


def _row(number: int, mark: Mark, shown: Mapping[str, str]) -> list[str]:
    first, last = mark.frames
    span = NOTHING
    if mark.axis_range is not None:
        span = f"{mark.axis} {mark.axis_range[0]:.5g} to {mark.axis_range[1]:.5g} {unit_sign(mark.axis_units or '1')}"
    where = "in this report" if mark.dataset in shown else mark.source or mark.dataset[:12]
    frames = str(first) if first == last else f"{first} to {last}"
    sure = f"{100 * mark.confidence:.0f} %"
    who = [mark.author, moment(mark.created), where]
    told = [str(number), frames, span, mark.category, mark.mechanism, sure, mark.text, *who]
    data = f"{told[-1]} (version {mark.version})" if mark.version > 1 else told[-1]
    return [*told[:-1], data, shown.get(mark.dataset, NOT_ASSESSED)]


def provenance(results: Sequence[tuple[str, xr.Dataset]]) -> Section:
    """Return source, SHA-256, history and X-ray dose of every result."""
    rows = []
    for name, table in results:
        digest = table.attrs.get("source_sha256") or table.attrs.get("source_fingerprint") or NOTHING
        dose = NOTHING if "record" in table.dims else statement_of(table)  # a cycler has no beam
        told = [str(table.attrs.get("source", NOTHING)), str(digest), identity(table)[:12], dose]
        rows.append([name, *told])
    section = Section("Where the numbers come from")
    section.tables.append(Table("Files read", ["result", "source", "SHA-256", "identity", "X-ray dose"], rows))
    for name, table in results:
        lines = str(table.attrs.get("history", "")).splitlines()
        if lines:
            steps = [[str(number), line] for number, line in enumerate(lines, 1)]
            section.tables.append(Table(f"Steps: {name}", ["", "time, version, step"], steps, is_folded=True))
    return section


def versions() -> Section:
    """Return the versions of batlab and of what it computes with."""
    rows = [["batlab", version()], ["Python", platform.python_version()], ["system", platform.platform()]]
    for library in LIBRARIES:
        try:
            rows.append([library, installed_version(library)])
        except PackageNotFoundError:
            rows.append([library, "not installed"])
    return Section("Versions", tables=[Table("Software", ["program", "version"], rows, is_folded=True)])
